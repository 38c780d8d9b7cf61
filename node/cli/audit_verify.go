package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/spf13/cobra"
)

// verifyFlags are the flags of audit verify.
type verifyFlags struct {
	network   string
	known     []string
	receipts  []string
	keep      string
	witnesses int
}

func auditVerify(e *Env) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use: "verify FILE|FOLDER", Short: "Verify exported evidence, offline", Args: cobra.ExactArgs(1),
		Long: `Verify what "cerebrum audit export" or "cerebrum audit receipt" wrote. It needs no home, no network and nothing
but the file, and no part of the file can change without being found. The exit code
is 0 only if all of it holds; otherwise it is 6, and the error says what does not
hold, and where; with --json there is a report of that too. A bundle is read twice, so it must be a file and not come through a pipe.

--network says which network it must be of, by its id or by a network file. Without
it the file says that of itself. --keep writes the log's checkpoint to a file, and
--known makes the next export of the same log live up to it: then nothing can have
been rolled back in between.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := filled(c, "network", "known", "receipt"); err != nil {
				return err
			}
			err := e.verifyExported(c.Context(), args[0], &f)
			return errors.Join(err, e.printFlaw(err))
		},
	}
	c.Flags().StringVar(&f.network, "network", "", "the id of the network that it must be of, or a network file")
	c.Flags().StringArrayVar(&f.known, "known", nil, "a checkpoint of the same log that you kept, or an earlier bundle; may be repeated")
	c.Flags().StringArrayVar(&f.receipts, "receipt", nil, "a receipt of the same log, which a bundle of it must live up to; may be repeated")
	outputFlag(c, &f.keep, "keep", "", "write the log's checkpoint to this new file")
	c.Flags().IntVar(&f.witnesses, "witnesses", 0, "how many validators must have cosigned the checkpoint")
	return c
}

// verifyExported verifies a receipt, a bundle or a folder and says what that proves.
func (e *Env) verifyExported(ctx context.Context, path string, f *verifyFlags) error {
	x, err := f.expect(ctx)
	if err != nil {
		return err
	}
	if raw, err := receiptIn(path); err != nil {
		return err
	} else if raw != nil {
		if f.keep != "" || len(f.known)+len(f.receipts) > 0 {
			return fault.New(fault.Usage, "they are for exported logs", "a receipt takes no --keep, --known and --receipt")
		}
		return e.verifyReceipt(path, raw, x)
	}
	r, err := verifyEvidence(ctx, path, x)
	if err != nil {
		return err
	}
	for _, receipt := range f.receipts {
		if err := livesUpTo(ctx, path, r, receipt, x); err != nil {
			return err
		}
	}
	if f.keep != "" {
		if err := writeNew(f.keep, r.Checkpoint.Note); err != nil {
			return err
		}
	}
	return e.printReport(r)
}

// expect reads what the auditor has.
func (f *verifyFlags) expect(ctx context.Context) (x evidence.Expect, err error) {
	if x.Witnesses = f.witnesses; x.Witnesses < 0 {
		return x, fault.New(fault.Usage, "0 asks for none", "--witnesses cannot be %d", x.Witnesses)
	}
	if x.Anchor, err = readAnchor(f.network); err != nil {
		return x, err
	}
	for _, path := range f.known {
		raw, err := knownIn(ctx, path, x.Anchor)
		if err != nil {
			return x, err
		}
		x.Known = append(x.Known, raw)
	}
	return x, nil
}

// maxKnown is more than a checkpoint has, in bytes.
const maxKnown = 1 << 17

// knownIn reads a checkpoint that somebody kept, or that of an earlier bundle, which
// must hold itself.
func knownIn(ctx context.Context, path string, of evidence.Anchor) ([]byte, error) {
	f, err := os.Open(path)
	var head []byte
	if err == nil {
		defer f.Close()
		head, err = io.ReadAll(io.LimitReader(f, maxKnown))
	}
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "it is what `cerebrum audit verify --keep` writes, or an earlier bundle", "the checkpoint")
	}
	if !audit.IsBundle(head) {
		return head, nil
	}
	r, err := verifyEvidence(ctx, path, evidence.Expect{Anchor: of})
	if err != nil {
		return nil, err
	}
	return r.Checkpoint.Note, nil
}

// livesUpTo holds a verified bundle to a receipt that the log's key signed.
func livesUpTo(ctx context.Context, bundle string, r *evidence.Report, path string, x evidence.Expect) error {
	raw, err := receiptIn(path)
	if err != nil {
		return err
	}
	if raw == nil || r.Format != "bundle" {
		return fault.New(fault.Usage, "", "--receipt takes what `cerebrum audit receipt` wrote, and holds a bundle to it")
	}
	x.Witnesses = 0
	v, err := evidence.VerifyReceipt(raw, quorum.RequestDigest, x)
	if err != nil {
		return fault.Wrap(fault.Integrity, &flaw{path, err}, "do not rely on it", "%s does not hold", plain(path))
	}
	last := v.Receipt.First + int64(v.Receipt.Entries()) - 1
	switch {
	case v.Receipt.Origin != r.Origin:
		return fault.New(fault.Usage, "name one of the log that is verified", "the receipt %s is of another log", plain(path))
	case v.Receipt.First < r.First:
		return fault.New(fault.Usage, "ask for an export that begins earlier", "the receipt %s is of entry %d, which is not in the bundle", plain(path), v.Receipt.First)
	case last >= r.Checkpoint.N:
		short := &flaw{bundle, fmt.Errorf("it ends before entry %d, which the receipt %s promises", last, plain(path))}
		return fault.Wrap(fault.Integrity, short, "ask for a newer export; if that lacks it too, the receipt is evidence against the log's owner", "%s does not hold", plain(bundle))
	}
	err = evidence.Contradicts(v.Receipt, opener(ctx, bundle))
	if err := verdict(ctx, bundle, err, "keep both: the log's key signed them, and only one can be so"); err != nil {
		return err
	}
	r.Kept = append(r.Kept, v)
	return nil
}

// readAnchor reads the name of a network: its id, or a network file.
func readAnchor(s string) (evidence.Anchor, error) {
	if s == "" {
		return evidence.Anchor{}, nil
	}
	if id, err := statement.ParseID(s); err == nil && id != (statement.ID{}) { // which would stand for no anchor
		return evidence.Anchor{Network: id}, nil
	}
	f, err := networkFile(s)
	if err != nil {
		return evidence.Anchor{}, err
	}
	c, err := f.Chain()
	if err != nil {
		return evidence.Anchor{}, fault.Wrap(fault.Integrity, err, "ask for the network file again", "the network file")
	}
	return evidence.Anchor{Network: c.Network(), Records: f.Records}, nil
}

// networkFile reads a network file where --network is no id.
func networkFile(s string) (*trust.File, error) {
	if _, err := os.Stat(s); err != nil {
		return nil, fault.New(fault.Usage, "the id is 64 hexadecimal digits, as `cerebrum network show` prints it", "--network %q is neither a network's id nor a file", s)
	}
	return readNetwork(s)
}

// exportedHint says what evidence is.
const exportedHint = "name what `cerebrum audit export` or `cerebrum audit receipt` wrote"

// verifyEvidence verifies a file or a folder. What does not hold is an integrity
// fault; what could not be read is not.
func verifyEvidence(ctx context.Context, path string, x evidence.Expect) (*evidence.Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, exportedHint, "the evidence")
	}
	var r *evidence.Report
	switch {
	case info.IsDir():
		r, err = evidence.VerifyTiles(folder{os.DirFS(path), ctx.Done()}, x)
	case info.Mode().IsRegular():
		r, err = evidence.Verify(opener(ctx, path), x)
	default: // the second reading would get the rest of the first, and honest evidence look forged
		return nil, fault.New(fault.Usage, "write it to a file first: it is read twice, and too large for memory", "%s is neither a file nor a folder", plain(path))
	}
	if err := verdict(ctx, path, err, "do not rely on it; keep it, and ask whoever sent it for another export"); err != nil {
		return nil, err
	}
	return r, nil
}

// verdict tells evidence that does not hold from what could not be read, or was not
// read to its end.
func verdict(ctx context.Context, path string, err error, hint string) error {
	var unread *fs.PathError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &unread):
		return fault.Wrap(fault.Failed, err, "see whether you may read all of it, and verify it again", "the evidence cannot be read")
	}
	return fault.Wrap(fault.Integrity, &flaw{path, err}, hint, "%s does not hold", plain(path))
}

// opener opens a file, which may be as long as a log: an interrupt ends its reading.
func opener(ctx context.Context, path string) evidence.Opener {
	return func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		return &stoppable{f, ctx.Done()}, err
	}
}

// stoppable is a file that is read until done is closed.
type stoppable struct {
	*os.File
	done <-chan struct{}
}

func (s *stoppable) Read(b []byte) (int, error) {
	select {
	case <-s.done:
		return 0, context.Canceled
	default:
		return s.File.Read(b)
	}
}

// folder is a folder of short files, in which none is opened once done is closed.
type folder struct {
	fs.FS
	done <-chan struct{}
}

func (f folder) Open(name string) (fs.File, error) {
	select {
	case <-f.done:
		return nil, context.Canceled
	default:
		return f.FS.Open(name)
	}
}

// Stat opens nothing.
func (f folder) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.FS, name) }

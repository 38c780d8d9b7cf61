package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// receiptsFile is what `erase --receipts` writes and `erase --check` reads: JSON,
// for people who keep it with their papers.
type receiptsFile struct {
	Format   string           `json:"format"`
	Address  string           `json:"address"`
	Network  string           `json:"network"`
	Orders   []api.EraseOrder `json:"orders"`
	Receipts [][]byte         `json:"receipts"`
	Residue  []string         `json:"not_proved"`
}

const (
	receiptsFormat = "cerebrum-erasure-1"
	maxReceipts    = 64 << 20 // bytes of a file
)

// eraseFlags are the flags of erase.
type eraseFlags struct {
	r                        api.EraseRequest
	receipts, check, network string
	lineage                  bool
}

func eraseCommand(e *Env) *cobra.Command {
	var f eraseFlags
	c := &cobra.Command{
		Use: "erase ADDRESS | erase --check FILE", Short: "Destroy the keys of what you own, for ever", Args: cobra.MaximumNArgs(1),
		Long: `Destroy the keys of what you own, everywhere and for ever: the validators' shares,
your own wrap, the ciphertext in every home that learns of it. The address means
the object with all its versions, a directory's address everything in it;
--this-version narrows. Nothing brings it back, and the key can never be shared again.

It is done once so many validators have signed that they destroyed their shares
that, liars and all, too few are left to open anything. Until then it ends with exit
code 5, and the node goes on by itself; the same command tells how far it is. Under
a legal hold, or before its retention is over, nothing is done.

--check verifies a file of receipts without a node, against a network file or the
network of this home, which --network may name by its id, and says what the receipts
prove and what they do not.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := filled(c, "check", "network"); err != nil { // an empty --check would erase
				return err
			}
			switch {
			case f.check != "" && (len(args) > 0 || f.receipts != ""):
				return fault.New(fault.Usage, "", "--check takes no address and writes no receipts")
			case f.check != "":
				return e.checkErasure(f.check, f.network)
			case len(args) != 1:
				return fault.New(fault.Usage, "see `cerebrum erase --help`", "name the address to erase")
			case f.lineage && f.r.ThisVersion:
				return fault.New(fault.Usage, "", "name one of --lineage and --this-version")
			}
			f.r.Address = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error { return e.erase(ctx, s, &f) })
		},
	}
	c.Flags().StringVar(&f.r.Reason, "reason", "", "why; it stands in the order, which everybody in the network gets")
	c.Flags().BoolVar(&f.r.Override, "override-retention", false, "though it is retained in the mode governance; needs the role retention-override and --reason")
	outputFlag(c, &f.receipts, "receipts", "", "write the signed receipts to this new file")
	c.Flags().BoolVar(&f.r.ThisVersion, "this-version", false, "this version only")
	c.Flags().BoolVar(&f.lineage, "lineage", false, "all versions (the default)")
	c.Flags().StringVar(&f.check, "check", "", "verify this file of receipts instead")
	c.Flags().StringVar(&f.network, "network", "", "with --check: the network file to verify against, or the id that the network of this home must have")
	return c
}

func (e *Env) erase(ctx context.Context, s api.Service, f *eraseFlags) error {
	r, err := s.Erase(ctx, f.r)
	if err != nil {
		return err
	}
	if f.receipts != "" {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		raw, err := json.MarshalIndent(receiptsFile{receiptsFormat, r.Address, st.Network, r.Orders, r.Receipts, r.Residue}, "", "  ")
		if err != nil {
			return err
		}
		if err := writeNew(f.receipts, append(raw, '\n')); err != nil {
			return err
		}
	}
	if err := e.print(r, func(w io.Writer) { e.printErased(w, r) }); err != nil {
		return err
	}
	if r.Erased {
		return nil
	}
	why := "the node goes on by itself; run the same command again to see how far it is"
	if len(r.Held) > 0 {
		why = "some validators know of a legal hold on it; see `cerebrum hold list`"
	}
	return fault.New(fault.Unavailable, why, "%s is not erased yet: %d of %d validators have destroyed their shares, and %d are needed", r.Address, len(r.Validators), r.Of, r.Need)
}

func (e *Env) printErased(w io.Writer, r *api.Erased) {
	if !r.Erased {
		return
	}
	fmt.Fprintf(w, "erased: %s, %d of %d validators have destroyed their shares\n", counted(r.Objects, "object", "objects"), len(r.Validators), r.Of)
	if e.Quiet {
		return
	}
	fmt.Fprintln(w, "what nobody can know:")
	for _, x := range r.Residue {
		fmt.Fprintf(w, "  %s\n", plain(x))
	}
}

// checked is what --check says.
type checked struct {
	Address   string   `json:"address"`
	Network   string   `json:"network"`
	Owner     string   `json:"owner"`
	Keys      int      `json:"keys"`
	Receipts  int      `json:"receipts"`
	Proves    []string `json:"proves"`
	NotProved []string `json:"not_proved"`
}

// checkErasure verifies a file of receipts by the committee records alone.
func (e *Env) checkErasure(path, network string) error {
	file, err := readReceipts(path)
	if err != nil {
		return err
	}
	chain, err := e.chainOf(network)
	if err != nil {
		return err
	}
	out := checked{Network: chain.Network().String(), Address: file.Address, Receipts: len(file.Receipts), NotProved: file.notProved()}
	if len(file.Orders) == 0 {
		return fault.New(fault.Integrity, "do not rely on it", "%s holds no order to erase", path)
	}
	for _, o := range file.Orders {
		b, err := revocation.CheckErased(revocation.Entry{Statement: o.Statement, Identity: o.Identity}, file.Receipts, chain)
		if err != nil {
			return fault.Wrap(fault.Integrity, err, "do not rely on it; ask the owner for the receipts again", "%s does not prove an erasure", path)
		}
		if out.Owner != "" && out.Owner != b.Owner.String() {
			return fault.New(fault.Integrity, "do not rely on it", "%s mixes orders of several owners", path)
		}
		out.Owner = b.Owner.String()
		out.Keys += len(b.Keys)
	}
	m := chain.Current().Numbers
	out.Proves = []string{
		fmt.Sprintf("the owner %s ordered %d keys to be destroyed", out.Owner, out.Keys),
		fmt.Sprintf("for each, %d validators of one committee signed that their share is destroyed and that they take no other", m.Effective()),
		fmt.Sprintf("so that with at most %d liars among them, fewer than the %d shares are left that open it", m.F, m.T),
	}
	return e.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "the receipts prove, in the network %s:\n  %s\nthey do not prove:\n  %s\n",
			out.Network, strings.Join(out.Proves, "\n  "), strings.Join(out.NotProved, "\n  "))
	})
}

// notProved are our words, not those of a file from somewhere.
func (f *receiptsFile) notProved() []string {
	return []string{
		"that the keys were those of the address " + plain(clip(f.Address)) + ": the manifest at the address says so, to whoever has it",
		"that nobody read the content before, or keeps the key or the content",
		"that no snapshot, backup or worn-out block of a disk keeps a share",
		"that the validators of earlier committees have destroyed theirs",
		"that the owner has destroyed its own wrap and the backups of it",
	}
}

func readReceipts(path string) (*receiptsFile, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "name what `cerebrum erase --receipts` wrote", "the file of receipts")
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxReceipts+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxReceipts {
		return nil, fault.New(fault.Integrity, "", "%s is too long for receipts", path)
	}
	return parseReceipts(path, raw)
}

func parseReceipts(path string, raw []byte) (*receiptsFile, error) {
	var f receiptsFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if _, end := d.Token(); err != nil || end != io.EOF || f.Format != receiptsFormat {
		return nil, fault.New(fault.Integrity, "it is what `cerebrum erase --receipts` writes", "%s is no file of receipts", path)
	}
	return &f, nil
}

// chainOf reads the committee records of a network file or, with an id or without a
// name, of this home, which must be of the network with that id.
func (e *Env) chainOf(network string) (*trust.Chain, error) {
	var f *trust.File
	id, err := statement.ParseID(network)
	named := err == nil
	if named || network == "" {
		h, err := e.open()
		switch {
		case err != nil && named:
			return nil, fault.Wrap(fault.Of(err).Exit, err, "name a network file instead, which has the committee records", "an id stands for the records that this home has")
		case err != nil:
			return nil, err
		case h.Network == nil:
			return nil, fault.New(fault.Usage, "name a network file with --network", "this home belongs to no network")
		}
		f = h.Network
	} else if f, err = networkFile(network); err != nil {
		return nil, err
	}
	c, err := f.Chain()
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "ask for the network file again", "the network")
	}
	if named && c.Network() != id {
		return nil, fault.New(fault.Usage, "name a network file instead, which has the committee records", "this home is of the network %s", c.Network())
	}
	return c, nil
}

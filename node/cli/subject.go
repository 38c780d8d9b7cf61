package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/dossier"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func subjectCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "subject", Short: "What this node knows of a person, and forgetting it",
		Long: `Answer a person who asks what is known about them, and forget them. SUBJECT is a
contact or a file with it, an identity's id, a name of this home, or a pseudonym of
this node's log. Each node, validators too, answers for itself.`,
	}
	c.AddCommand(subjectExport(e), subjectVerify(e), subjectForget(e))
	return c
}

func subjectExport(e *Env) *cobra.Command {
	var output string
	var force bool
	c := &cobra.Command{
		Use: "export SUBJECT -o FILE.zip|FILE.json", Short: "Write what is known of a person, with proofs", Args: cobra.ExactArgs(1),
		Long: `Write the log entries that concern a person, each with what may be disclosed of it
and a proof that it stands in the log; the objects, grants, consents, roles and
memberships of the person that are known here; and who received what. What concerns
other persons is withheld and counted. "subject verify" checks the file offline.`,
		RunE: func(c *cobra.Command, args []string) error {
			format := strings.TrimPrefix(filepath.Ext(output), ".")
			if format != "zip" && format != "json" {
				return fault.New(fault.Usage, "", "the file of -o ends in .zip or .json")
			}
			who, err := e.line(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				var x *api.SubjectExported
				err := intoFile(output, force, func(tmp string) (err error) {
					x, err = s.SubjectExport(ctx, api.SubjectExportRequest{Subject: who, Format: format, Into: tmp})
					return err
				})
				if err != nil {
					return err
				}
				if x.File, err = absolute(output); err != nil {
					return err
				}
				return e.print(x, func(w io.Writer) { e.printSubject(w, x) })
			})
		},
	}
	outputFlag(c, &output, "output", "o", "the file to write, .zip or .json")
	c.Flags().BoolVar(&force, "force", false, "replace an existing file")
	c.MarkFlagRequired("output")
	return c
}

func (e *Env) printSubject(w io.Writer, x *api.SubjectExported) {
	fmt.Fprintln(w, plain(x.File))
	if e.Quiet {
		return
	}
	fmt.Fprintf(w, "%s: %s (%d proved), %s, %s, %s, %s\n", x.Subject, counted(x.Events, "event", "events"), x.Proved,
		counted(x.Objects, "object", "objects"), counted(x.Grants, "grant", "grants"),
		counted(x.Consents, "consent", "consents"), counted(x.Recipients, "recipient", "recipients"))
	fmt.Fprintf(w, "%s withheld\n", counted(x.Withheld, "claim about other persons is", "claims about other persons are"))
	for _, p := range x.Parts {
		fmt.Fprintf(w, "  %-20s %9s  %s\n", p.Name, humanize.IBytes(uint64(p.Bytes)), p.SHA256)
	}
	listed(w, "it cannot say", x.NotKnown)
}

// listed prints a heading and sentences below it.
func listed(w io.Writer, heading string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintln(w, heading+":")
	}
	for _, l := range lines {
		fmt.Fprintln(w, "  - "+plain(l))
	}
}

func subjectVerify(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Check the export of a person, offline", Args: cobra.ExactArgs(1),
		Long: `Check every part of an export against its list, and every log entry against its
disclosures and against a checkpoint that the log's key signed. Compare the peer that
it prints with the node that the file came from. A file that was packed or saved again
by another program is refused: check it as it came.`,
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := readExport(args[0])
			if err != nil {
				return err
			}
			parts, err := dossier.Open(raw)
			var checked *dossier.Checked
			if err == nil {
				checked, err = dossier.Check(parts)
			}
			if err != nil {
				return fault.Wrap(fault.Integrity, err, "ask for the file again", "%s", args[0])
			}
			return e.print(checked, func(w io.Writer) {
				fmt.Fprintf(w, "the parts are as listed; %d of %s stand in the log of the peer %s\n", checked.Proved, counted(checked.Events, "event", "events"), checked.Peer)
				if checked.Unproved > 0 {
					fmt.Fprintf(w, "%s without a proof\n", counted(checked.Unproved, "event came", "events came"))
				}
				listed(w, "not proved", []string{"that no event was left out", "what the other parts say: they are the node's word", "who the peer is: compare its key"})
			})
		},
	}
}

// readExport reads a file that is no larger than an export. Devices and pipes say that
// they have no bytes, and give any number: they are refused before they are opened, since
// opening a pipe waits for somebody who writes.
func readExport(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the export")
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Failed, "copy the export to a file first", "%s is no regular file", path)
	}
	large := fault.New(fault.Integrity, "", "%s is no export: it is larger than any", path)
	if info.Size() > dossier.MaxFile {
		return nil, large
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the export")
	}
	defer f.Close()
	var raw bytes.Buffer
	raw.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := raw.ReadFrom(io.LimitReader(f, dossier.MaxFile+1)); err != nil { // it may have grown since
		return nil, fault.Wrap(fault.Failed, err, "", "the export")
	}
	if raw.Len() > dossier.MaxFile {
		return nil, large
	}
	return raw.Bytes(), nil
}

func subjectForget(e *Env) *cobra.Command {
	var r api.SubjectForgetRequest
	c := &cobra.Command{
		Use: "forget SUBJECT", Short: "Destroy what this node may destroy of a person", Args: cobra.ExactArgs(1),
		Long: `Destroy the key under which this node's log keeps what concerns a person, the grants
here that are over and name the person, and receipts of validators that name the person
or cannot be read. The log and its proofs stay valid. It cannot be taken back. A legal
hold forbids it (exit code 3). It prints what remains.`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if r.Subject, err = e.line(args[0]); err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				f, err := s.SubjectForget(ctx, r)
				if err != nil {
					return err
				}
				return e.print(f, func(w io.Writer) {
					also := counted(f.Grants, "grant that was over", "grants that were over") + " and " + counted(f.Receipts, "receipt", "receipts")
					if f.Damaged > 0 {
						also += ", and " + counted(f.Damaged, "receipt that could not be read", "receipts that could not be read")
					}
					if f.Known {
						fmt.Fprintf(w, "forgotten: what %s said of the person, %s\n", counted(f.Events, "event", "events"), also)
					} else {
						fmt.Fprintf(w, "this node's log does not know the person; deleted: %s\n", also)
					}
					listed(w, "what remains", f.Remains)
				})
			})
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "of the order, kept in the log; do not name the person")
	return c
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"
)

func auditCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Who got what, when and under which authority, and proof that nothing was removed",
		Long: `Every node and validator logs what it decides before it does it. Nothing can be
changed in such a log, or taken out of it, that an auditor would not find.`,
	}
	c.AddCommand(auditLog(e), auditExport(e), auditArchive(e), auditVerify(e), auditReceipts(e), auditReceipt(e))
	return c
}

// parseSince reads a time, or how long ago it was; empty is the beginning.
func (e *Env) parseSince(s string) (unixMilli int64, err error) { return e.parseTime("--since", s) }

// parseTime reads the time of a flag: see parseSince.
func (e *Env) parseTime(flag, s string) (unixMilli int64, err error) {
	if s == "" {
		return 0, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return max(t.UnixMilli(), 0), nil
		}
	}
	if d, err := parseDuration(s); err == nil && d >= 0 {
		return max(e.Now().Add(-d).UnixMilli(), 0), nil
	}
	return 0, fault.New(fault.Usage, "times are UTC where they name no zone", "%s is a time such as 2026-11-26T10:00:00Z or 2026-11-26, or how long ago, such as 90m or 7d", flag)
}

func auditLog(e *Env) *cobra.Command {
	var r api.AuditLogRequest
	var since, network string
	c := &cobra.Command{
		Use: "log [FILE.bundle]", Short: "What happened here, newest last", Args: cobra.MaximumNArgs(1),
		Long: `Print the entries of this home's log: in words, in OCSF 1.8.0 as JSON lines (--json
does the same), as CSV, or as messages of RFC 5424 syslog. What an entry was about is
shown unless the person whom it concerns was erased.

With a bundle that "cerebrum audit export" wrote, print the entries in that, once all
of it was verified. It needs no home.`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if e.JSON {
				if c.Flags().Changed("format") && r.Format != "json" {
					return fault.New(fault.Usage, "leave one of them out", "--json is another format than --format %s", r.Format)
				}
				r.Format = "json"
			}
			if err := filled(c, "network", "object", "identity", "action", "outcome"); err != nil {
				return err
			}
			if r.Since, err = e.parseSince(since); err != nil {
				return err
			}
			if r.Identity, err = argument(r.Identity); err != nil {
				return err
			}
			if len(args) > 0 {
				return e.bundleLog(c.Context(), args[0], network, r)
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error { return s.AuditLog(ctx, r, e.Out) })
		},
	}
	f := c.Flags()
	f.StringVar(&r.Object, "object", "", "only what was done to this address or id")
	f.StringVar(&r.Identity, "identity", "", "only what this contact, id or identity of this home did, or was done for it")
	f.StringVar(&r.Action, "action", "", "only this action, such as release or grant")
	f.StringVar(&r.Outcome, "outcome", "", "only what ended so: ok, denied, pending or failed")
	f.StringVar(&since, "since", "", "only from this time on, or from so long ago")
	f.BoolVar(&r.Follow, "follow", false, "go on with what happens, until interrupted")
	f.StringVar(&r.Format, "format", "words", "words, json, csv or syslog")
	f.StringVar(&network, "network", "", "with a bundle: the network that it must be of, as in `audit verify`")
	return c
}

// bundleLog prints the entries of a bundle.
func (e *Env) bundleLog(ctx context.Context, path, network string, r api.AuditLogRequest) error {
	if r.Follow {
		return fault.New(fault.Usage, "leave --follow out, or leave the bundle out and follow this home's log", "--follow is for the log of a node, and nothing is added to a bundle")
	}
	f := ocsf.Filter{Since: r.Since, Action: r.Action, Outcome: r.Outcome, Identity: r.Identity, Object: r.Object}
	if err := f.Check(); err != nil {
		return fault.Wrap(fault.Usage, err, "see `cerebrum audit log --help`", "the filter")
	}
	var x evidence.Expect
	var err error
	if x.Anchor, err = readAnchor(network); err != nil {
		return err
	}
	// Verified as a whole before a line of it is shown.
	v, err := verifyEvidence(ctx, path, x)
	if err != nil {
		return err
	}
	if v.Format != "bundle" {
		return fault.New(fault.Usage, "export a bundle, which has what the entries are about", "%s is a folder of tiles", plain(path))
	}
	out := bufio.NewWriterSize(e.Out, 64<<10)
	form, err := ocsf.Writer(out, ocsf.Form{Format: r.Format})
	if err != nil {
		return fault.Wrap(fault.Usage, err, "see `cerebrum audit log --help`", "the format")
	}
	err = evidence.Read(opener(ctx, path), x, func(i *evidence.Entry) error {
		if i.Leaf == nil || !f.Leaf(i.Leaf) || !f.Claims(i.Claims) {
			return nil
		}
		return form(&ocsf.Record{
			Origin: v.Origin, Index: i.Index, LeafHash: tlog.RecordHash(i.Raw), Leaf: i.Leaf, Claims: i.Claims, Erased: i.Erased, Lost: i.Lost,
		})
	})
	return errors.Join(err, out.Flush())
}

func auditExport(e *Env) *cobra.Command {
	var r api.AuditExportRequest
	var output, since string
	var force bool
	c := &cobra.Command{
		Use: "export -o FILE.bundle", Short: "What an auditor needs of this log, offline", Args: cobra.NoArgs,
		Long: `Write this home's log with everything that is needed to verify it without any
network: whose log it is, the checkpoint with its cosignatures, the network's
committee records, the entries, and what opens what they are about. "cerebrum audit
verify" verifies it anywhere. Hand the network's id to the auditor by another way.

--format tiles writes a folder in the format of C2SP tlog-tiles instead, which tools of
others verify too; what the entries are about is not in it.`,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.Since, err = e.parseSince(since); err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				x, err := exportAudit(ctx, s, r, output, force)
				if err != nil {
					return err
				}
				return e.print(x, func(w io.Writer) { e.printAuditExported(w, x) })
			})
		},
	}
	f := c.Flags()
	outputFlag(c, &output, "output", "o", "the file, or with --format tiles the folder, to write")
	f.StringVar(&since, "since", "", "leave entries out that are older than this time, or than so long ago; a few of them may stay")
	f.StringVar(&r.Format, "format", "bundle", "bundle or tiles")
	f.BoolVar(&r.Withhold, "without-disclosures", false, "leave out what the entries are about: who, on what, under which grant, for which purpose")
	f.BoolVar(&r.Cosigned, "cosigned", false, "end at the newest checkpoint that witnesses have signed")
	f.BoolVar(&force, "force", false, "replace an existing file")
	c.MarkFlagRequired("output")
	return c
}

// exportAudit writes a bundle into a file, or tiles into a new folder.
func exportAudit(ctx context.Context, s api.Service, r api.AuditExportRequest, output string, force bool) (x *api.AuditExported, err error) {
	if output, err = absolute(output); err != nil {
		return nil, err
	}
	if r.Format == "tiles" {
		if _, err := os.Lstat(output); err == nil {
			return nil, fault.New(fault.Failed, "choose another name", "%s exists", output)
		}
		if r.Since > 0 {
			return nil, fault.New(fault.Usage, "leave --since out, or export a bundle", "a folder of tiles begins with the first entry")
		}
		r.Into = output
		return s.AuditExport(ctx, r)
	}
	err = intoFile(output, force, func(tmp string) error {
		r.Into = tmp
		x, err = s.AuditExport(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	x.File = output
	return x, nil
}

func (e *Env) printAuditExported(w io.Writer, x *api.AuditExported) {
	fmt.Fprintf(w, "%s: %s of %s\n", plain(x.File), counted(x.Entries, "entry", "entries"), x.Origin)
	if x.Lost > 0 {
		fmt.Fprintf(e.Err, "what %s about is lost, and the bundle says so\n", counted(x.Lost, "event was", "events were"))
	}
	if x.Damaged > 0 {
		fmt.Fprintf(e.Err, "warning: beside %s of this log stands what was not written with it: keep a copy of the folder audit as evidence before anything else\n",
			counted(x.Damaged, "entry", "entries"))
	}
	if e.Quiet {
		return
	}
	if x.First > 0 {
		fmt.Fprintf(e.Err, "the %s proven to be there, and not in it\n", counted(x.First, "entry before them is", "entries before them are"))
	}
	switch others := counted(x.Of, "other validator", "other validators"); {
	case x.Witnesses > 0:
		fmt.Fprintf(e.Err, "cosigned by %d of %s\n", x.Witnesses, others)
	case x.Of > 0:
		fmt.Fprintf(e.Err, "none of %s has cosigned it: `cerebrum audit export --cosigned` ends at the newest checkpoint that some did\n", others)
	}
	if x.Network != "" {
		fmt.Fprintf(e.Err, "verify it with `cerebrum audit verify %s --network %s`\n", plain(filepath.Base(x.File)), x.Network)
	}
}

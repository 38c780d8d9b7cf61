package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// archived is what "audit archive" did.
type archived struct {
	*api.AuditExported
	Removed int64 `json:"removed"`
	Begins  int64 `json:"begins"` // the first entry that the log still has
}

func auditArchive(e *Env) *cobra.Command {
	var before, output string
	c := &cobra.Command{
		Use: "archive --before T -o FILE.bundle", Short: "Export the log, then remove its oldest entries", Args: cobra.NoArgs,
		Long: `Write this home's log as "audit export" does, verify the file, and then remove the
entries before a time from the log. The log begins a new file each quarter and at each
archive, and removes whole files alone, so entries of the same file stay. What is left
of a removed entry is its hash: later exports prove that they go on from the archive
("audit verify LATER.bundle --known FILE.bundle"). A legal hold forbids it (exit code
3). Sealed disclosures of removed entries go when the node starts next.`,
		RunE: func(c *cobra.Command, _ []string) error {
			limit, err := e.parseTime("--before", before)
			if err != nil {
				return err
			}
			if limit > e.Now().UnixMilli() || limit == 0 {
				return fault.New(fault.Usage, "name how long ago, such as 730d, or a day such as 2024-01-01", "--before is a time in the past")
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error { return e.archive(ctx, s, limit, output) })
		},
	}
	c.Flags().StringVar(&before, "before", "", "remove entries that are older than this time, or than so long ago, such as 730d")
	outputFlag(c, &output, "output", "o", "the archive to write first")
	c.MarkFlagRequired("before")
	c.MarkFlagRequired("output")
	return c
}

// archive exports the log and removes what is older than the limit from it. What would
// forbid the second is asked for before the first.
func (e *Env) archive(ctx context.Context, s api.Service, limit int64, output string) error {
	if _, err := os.Lstat(output); err == nil { // no --force: it may have all that is left of removed entries
		return fault.New(fault.Failed, "choose another name for this archive", "%s exists", plain(output))
	}
	if _, err := s.AuditPrune(ctx, api.AuditPruneRequest{Before: limit, Ask: true}); err != nil {
		return err
	}
	x, err := exportAudit(ctx, s, api.AuditExportRequest{Format: "bundle"}, output, false)
	if err != nil {
		return err
	}
	v, err := verifyEvidence(ctx, x.File, evidence.Expect{})
	if err != nil {
		return err
	}
	p, err := s.AuditPrune(ctx, api.AuditPruneRequest{Before: limit, Checkpoint: string(v.Checkpoint.Note)})
	if err != nil {
		f := fault.Of(err)
		return fault.New(f.Exit, f.Hint, "the archive %s is complete, but %s", plain(x.File), f.Message)
	}
	return e.print(archived{x, p.Removed, p.First}, func(w io.Writer) {
		e.printAuditExported(w, x)
		if p.Removed == 0 {
			fmt.Fprintln(w, "nothing was removed: no file of the log has only entries before that")
			return
		}
		fmt.Fprintf(w, "%s removed; the log begins with entry %d\n", counted(p.Removed, "entry was", "entries were"), p.First)
	})
}

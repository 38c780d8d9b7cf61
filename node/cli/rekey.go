package cli

import (
	"context"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
	"github.com/spf13/cobra"
)

func rekeyCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "rekey ADDRESS", Short: "Put a file of yours under a new key, as a new version", Args: cobra.ExactArgs(1),
		Long: `Encrypt a file of yours again under a new key, as a new version with a new
address, and retire the old one. Grants of the object cover the new version;
grants of that version alone do not, and whoever has the old key has nothing of the
new one. Revoke first those who shall not read on.

The old version is retired only once enough validators have the new one, and its
key is erased once the new one is safe with them and no legal hold is on it.`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				op, stop := e.watch(ctx, s)
				r, err := s.Rekey(ctx, api.RekeyRequest{Address: args[0], Op: op})
				stop()
				if err != nil {
					return err
				}
				return e.print(r, func(w io.Writer) { e.printRekeyed(w, r) })
			})
		},
	}
}

func (e *Env) printRekeyed(w io.Writer, r *api.Rekeyed) {
	fmt.Fprintln(w, r.Address)
	if e.Quiet {
		return
	}
	what := "the old version was retired"
	if !r.Retired {
		what = "the old version was not retired: too few validators have the new one yet, which the node goes on delivering"
	}
	switch {
	case r.Erased:
		what = "the old version was retired and its key erased"
	case r.Kept != "":
		what += ", and its key was not erased: " + plain(r.Kept)
	}
	fmt.Fprintf(e.Err, "version %d in %.2f s, with %d of %d validators; %s\n", r.Sequence, r.Seconds, r.Deposits.Acknowledged, r.Deposits.Of, what)
}

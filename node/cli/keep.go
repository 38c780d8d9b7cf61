package cli

import (
	"context"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func pinCommand(e *Env) *cobra.Command {
	var r api.PinRequest
	c := &cobra.Command{
		Use: "pin ADDRESS", Short: "Keep an object's ciphertext here, and fetch it first where it is not", Args: cobra.ExactArgs(1),
		Long: `Keep an object's ciphertext in this home until "cerebrum unpin". What is not here is
fetched like a mirror's: under a grant to read or to carry it, every block checked, and
served to those who may have it. The address means all that the grant covers, for a
directory everything in it; --this-version narrows. An interrupted transfer goes on by
itself. What its owner erases goes, pinned or not.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Address = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				op, stop := e.watch(ctx, s)
				r.Op = op
				out, err := s.Pin(ctx, r)
				stop()
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) { printObjects(w, out) })
			})
		},
	}
	c.Flags().StringVar(&r.As, "as", "", "the identity to which it was granted")
	c.Flags().BoolVar(&r.ThisVersion, "this-version", false, "the one address, not all that the grant covers")
	return c
}

func unpinCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "unpin ADDRESS", Short: "End a pin; what it had fetched goes with the next gc", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Unpin(ctx, api.UnpinRequest{Address: args[0]})
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) { printObjects(w, out) })
			})
		},
	}
}

func gcCommand(e *Env) *cobra.Command {
	var r api.GCRequest
	c := &cobra.Command{
		Use: "gc", Short: "Free the blocks that nothing here needs", Args: cobra.NoArgs,
		Long: `Free what adds and transfers that were cut off have left, and what pins had fetched
that have ended. All that "cerebrum ls" shows stays, every version of it; so does what
is on its way to a mirror, and what is under a legal hold. The node goes on working.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.GC(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) { printCollected(w, out) })
			})
		},
	}
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "free nothing, and tell what would be")
	c.Flags().BoolVar(&r.Force, "force", false, "go on where damage hides what an object needs: what was below it may go")
	return c
}

func printCollected(w io.Writer, out *api.Collected) {
	did := "freed"
	if out.DryRun {
		did = "would free"
	}
	fmt.Fprintf(w, "%s %s in %s\n", did, humanize.IBytes(uint64(out.Freed)), counted(out.Blocks, "block", "blocks"))
	for _, o := range out.Objects {
		fmt.Fprintf(w, "  %s, which nothing here needs\n", o.Address)
	}
}

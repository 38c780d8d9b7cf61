package cli

import (
	"context"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func holdCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "hold", Short: "Legal holds: what must not be destroyed",
		Long: `A legal hold forbids that what it is on is destroyed, even by its owner. It is
ordered by an identity with the role legal-officer or by a validator's, signed by a
threshold of the validators, and has no end until it is released the same way.`,
	}
	c.AddCommand(holdPlace(e), holdRelease(e), holdList(e))
	return c
}

func holdPlace(e *Env) *cobra.Command {
	var r api.HoldRequest
	c := &cobra.Command{
		Use: "place ADDRESS", Short: "Put an object and its versions under a hold", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if r.ThisVersion && r.Directory {
				return fault.New(fault.Usage, "", "name one of --this-version and --directory")
			}
			r.Address = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				h, err := s.Hold(ctx, r)
				return e.printHeld(h, err, "placed")
			})
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "the order; its words stay here, its hash goes into the statement")
	c.Flags().StringVar(&r.As, "as", "", "the identity that orders it")
	c.Flags().BoolVar(&r.ThisVersion, "this-version", false, "this version only, not the object's others")
	c.Flags().BoolVar(&r.Directory, "directory", false, "the directory that it belongs to, with all that is in it")
	c.MarkFlagRequired("reason")
	return c
}

func holdRelease(e *Env) *cobra.Command {
	var r api.UnholdRequest
	c := &cobra.Command{
		Use: "release HOLD", Short: "End a hold; orders to erase that wait for it go on", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r.Hold = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				h, err := s.Unhold(ctx, r)
				return e.printHeld(h, err, "released")
			})
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "why; its words stay here, its hash goes into the statement")
	c.Flags().StringVar(&r.As, "as", "", "the identity that orders it")
	return c
}

func (e *Env) printHeld(h *api.Held, err error, what string) error {
	if err != nil {
		return err
	}
	return e.print(h, func(w io.Writer) {
		fmt.Fprintln(w, h.Hold)
		if !e.Quiet {
			fmt.Fprintf(e.Err, "%s; %d of %d validators have it in their logs\n", what, h.Acks, h.Of)
		}
	})
}

func holdList(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The holds in force", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				hs, err := s.Holds(ctx)
				if err != nil {
					return err
				}
				return e.print(hs, func(w io.Writer) {
					for _, h := range hs.Holds {
						fmt.Fprintf(w, "%s  %s %s\n  of %s, ordered by %s, since %s\n", h.Hold, h.On, h.Target, h.Owner, h.Officer, h.Since)
					}
				})
			})
		},
	}
}

package cli

import (
	"context"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
	"github.com/spf13/cobra"
)

func peersCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "peers", Short: "The connected members, and who is barred", Args: cobra.NoArgs,
		Long: `The members that this node is connected to, and peers that it bars for a while
because they broke rules: points for that decay, and the ban ends with them.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				ps, err := s.Peers(ctx)
				if err != nil {
					return err
				}
				return e.print(ps, func(w io.Writer) {
					for _, p := range ps.Peers {
						fmt.Fprintf(w, "%-9s %-3s %s %s\n", p.Role, p.Direction, p.ID, p.Address)
					}
					for _, b := range ps.Banned {
						fmt.Fprintf(w, "%-9s     %s until %s: %s\n", "barred", b.ID, b.Until, plain(b.Why))
					}
				})
			})
		},
	}
	c.AddCommand(peersRemove(e))
	return c
}

func peersRemove(e *Env) *cobra.Command {
	var r api.RemoveMemberRequest
	c := &cobra.Command{
		Use: "remove PEER", Short: "Remove a member from the network, for ever", Args: cobra.ExactArgs(1),
		Long: `Say, as the person at a validator, that a peer is no member of the network any
more. It counts once the persons at more validators than may be faulty have said so;
from then on nobody lets the peer in, connections with it end, and its membership is
never renewed. Nothing takes it back: the same person joins again with a new home
and a new invitation. Grants are not touched: revoke those too.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Peer = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.RemoveMember(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					fmt.Fprintf(w, "%s  %s, %d of %d validators have said so\n", out.Peer, out.State, out.Said, out.Need)
				})
			})
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "why, for the logs")
	c.Flags().StringVar(&r.As, "as", "", "the identity that says so")
	return c
}

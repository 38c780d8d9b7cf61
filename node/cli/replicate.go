package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func replicateCommand(e *Env) *cobra.Command {
	var r api.ReplicateRequest
	var within string
	var list, stop bool
	c := &cobra.Command{
		Use: "replicate ADDRESS --copies N --on CONTACT... | ADDRESS --stop | --list", Short: "Have mirrors keep copies of what you own", Args: cobra.MaximumNArgs(1),
		Long: `Have N of the named mirrors keep the ciphertext of what you own, for a directory
everything in it, with what is added later. Your node grants each of them to carry it,
asks them for random parts of it again and again, and lets the next one take the
place of one that is silent for longer than --within. It works while your node runs;
what the mirrors have, they keep when it does not.

A mirror takes part by "cerebrum mirror --offer SIZE". An answer to a challenge shows
that the mirror could serve those parts then; it does not show that no two mirrors
share a disk.`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case list && (stop || len(args) > 0), !list && len(args) != 1:
				return fault.New(fault.Usage, "see `cerebrum replicate --help`", "name an address, or --list alone")
			case stop && (r.Copies != 0 || len(r.On) > 0):
				return fault.New(fault.Usage, "", "--stop goes with an address alone")
			case !list && !stop && (r.Copies == 0 || len(r.On) == 0):
				return fault.New(fault.Usage, "see `cerebrum replicate --help`", "name how many copies with --copies, and mirrors with --on")
			}
			d, err := parseDuration(within)
			if err != nil {
				return fault.Wrap(fault.Usage, err, "", "--within")
			}
			r.Seconds = int64(d / time.Second)
			for i, name := range r.On {
				if r.On[i], err = argument(name); err != nil {
					return err
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				if list {
					return e.replicas(ctx, s)
				}
				r.Address = args[0]
				return e.replicate(ctx, s, r, stop)
			})
		},
	}
	c.Flags().IntVar(&r.Copies, "copies", 0, "how many mirrors are to have a copy")
	c.Flags().StringArrayVar(&r.On, "on", nil, "the contact of a mirror, or a file with it; the first are asked first")
	c.Flags().StringVar(&within, "within", "1h", "how long a mirror may be silent before the next one takes its place")
	c.Flags().BoolVar(&list, "list", false, "what is replicated")
	c.Flags().BoolVar(&stop, "stop", false, "replicate it no more, and revoke what the mirrors were granted")
	return c
}

func (e *Env) replicate(ctx context.Context, s api.Service, r api.ReplicateRequest, stop bool) error {
	var x *api.Replica
	var err error
	if stop {
		x, err = s.Unreplicate(ctx, api.UnreplicateRequest{Address: r.Address})
	} else {
		x, err = s.Replicate(ctx, r)
	}
	if err != nil {
		return err
	}
	return e.print(x, func(w io.Writer) {
		if stop {
			fmt.Fprintln(w, "no longer replicated")
			return
		}
		printReplica(w, x)
	})
}

func (e *Env) replicas(ctx context.Context, s api.Service) error {
	l, err := s.Replicas(ctx)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) {
		for i := range l.Replicas {
			printReplica(w, &l.Replicas[i])
		}
	})
}

func printReplica(w io.Writer, r *api.Replica) {
	fmt.Fprintf(w, "%s  %d of %d copies  %s\n", r.Address, r.Healthy, r.Copies, plain(r.Name))
	for _, m := range r.Mirrors {
		seen := ""
		if m.Seen != "" {
			seen = "  seen " + m.Seen
		}
		fmt.Fprintf(w, "  %-7s  %s%s\n", m.State, m.Identity, seen)
	}
	if r.Problem != "" {
		fmt.Fprintf(w, "  the last look failed: %s\n", plain(r.Problem))
	}
}

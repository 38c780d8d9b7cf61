package cli

import (
	"context"
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// mirrorFlags are the flags of mirror.
type mirrorFlags struct {
	r           api.MirrorRequest
	list, check bool
	offer       string
	from        []string
}

func mirrorCommand(e *Env) *cobra.Command {
	var f mirrorFlags
	c := &cobra.Command{
		Use: "mirror ADDRESS | --list | --check [ADDRESS] | --offer SIZE", Short: "Carry ciphertext that you cannot read", Args: cobra.MaximumNArgs(1),
		Long: `Fetch the ciphertext of what you were granted to carry, check every block, keep it,
and serve it to those who may have it. The address means all that the grant covers,
for a directory everything in it, with what is added later; --this-version narrows.
A grant to read lets you carry too; one to carry gives no key.

An interrupted transfer goes on by itself; nothing is listed or served before it is
whole. Once the grant has ended nothing is served under it, and the ciphertext stays
until "cerebrum unmirror"; what its owner erases is deleted, unless a legal hold is on it.

--offer has this home carry, by itself and up to SIZE, whatever its identity is granted
to carry: that is what "cerebrum replicate" of an owner needs.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.read(c, args); err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				switch {
				case f.list:
					return e.mirrorList(ctx, s)
				case f.check:
					return e.mirrorCheck(ctx, s, f.r.Address)
				case f.offer != "":
					return e.mirrorOffer(ctx, s, &f)
				}
				op, stop := e.watch(ctx, s)
				f.r.Op = op
				m, err := s.Mirror(ctx, f.r)
				stop()
				if err != nil {
					return err
				}
				return e.print(m, func(w io.Writer) {
					fmt.Fprintf(w, "%s: %s, %s, %d of them new\n", m.State, counted(m.Objects, "object", "objects"), humanize.IBytes(m.Bytes), m.New)
				})
			})
		},
	}
	c.Flags().StringVar(&f.r.As, "as", "", "the identity to which it was granted")
	c.Flags().BoolVar(&f.r.ThisVersion, "this-version", false, "the one address, not all that the grant covers")
	c.Flags().BoolVar(&f.list, "list", false, "what this home mirrors")
	c.Flags().BoolVar(&f.check, "check", false, "read every block, and fetch again what is damaged")
	c.Flags().StringVar(&f.offer, "offer", "", "carry up to so much by itself, such as 100GiB; 0 ends it")
	c.Flags().StringArrayVar(&f.from, "from", nil, "with --offer: only for owners with this contact")
	return c
}

// read checks which of the command's forms was meant.
func (f *mirrorFlags) read(c *cobra.Command, args []string) error {
	forms := 0
	for _, on := range []bool{f.list, f.check, f.offer != "", len(args) > 0 && !f.check} {
		if on {
			forms++
		}
	}
	switch {
	case forms != 1:
		return fault.New(fault.Usage, "see `cerebrum mirror --help`", "name an address, or one of --list, --check and --offer")
	case len(f.from) > 0 && f.offer == "":
		return fault.New(fault.Usage, "", "--from goes with --offer")
	case f.r.ThisVersion && (len(args) == 0 || f.check):
		return fault.New(fault.Usage, "", "--this-version goes with an address to mirror")
	}
	if len(args) > 0 {
		f.r.Address = args[0]
	}
	for i, contact := range f.from {
		var err error
		if f.from[i], err = argument(contact); err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) mirrorList(ctx context.Context, s api.Service) error {
	l, err := s.Mirrored(ctx)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) {
		for _, m := range l.Mirrored {
			how := ""
			if m.Offered {
				how = ", offered"
			}
			fmt.Fprintf(w, "%s  %-10s  %6d objects  %9s  since %s%s\n", m.Address, m.State, m.Objects, humanize.IBytes(m.Bytes), m.Since, how)
		}
		if l.Offer.Bytes > 0 {
			fmt.Fprintf(w, "offers %s, of which %s are used\n", humanize.IBytes(l.Offer.Bytes), humanize.IBytes(l.Offer.Used))
		}
	})
}

func (e *Env) mirrorCheck(ctx context.Context, s api.Service, address string) error {
	k, err := s.MirrorCheck(ctx, api.MirrorCheckRequest{Address: address})
	if err != nil {
		return err
	}
	err = e.print(k, func(w io.Writer) {
		fmt.Fprintf(w, "%s, %s, %d damaged; %s repaired, %d not\n", counted(k.Objects, "object", "objects"), counted(k.Checked, "block", "blocks"),
			len(k.Damaged), counted(len(k.Repaired), "object", "objects"), len(k.Bad))
		for _, b := range k.Bad {
			fmt.Fprintln(w, b)
		}
	})
	if err == nil && len(k.Bad) > 0 {
		err = fault.New(fault.Integrity, "check again when another holder is running", "%d of %d objects are damaged, and no holder had them whole", len(k.Bad), k.Objects)
	}
	return err
}

func (e *Env) mirrorOffer(ctx context.Context, s api.Service, f *mirrorFlags) error {
	size, err := humanize.ParseBytes(f.offer)
	if err != nil || size > 1<<62 {
		return fault.New(fault.Usage, "", "--offer is a size such as 500MiB or 2TiB, or 0")
	}
	o, err := s.MirrorOffer(ctx, api.MirrorOfferRequest{Bytes: size, From: f.from, As: f.r.As})
	if err != nil {
		return err
	}
	return e.print(o, func(w io.Writer) {
		if o.Bytes == 0 {
			fmt.Fprintln(w, "nothing is offered; what is carried stays until `cerebrum unmirror`")
			return
		}
		fmt.Fprintf(w, "offers %s, of which %s are used\n", humanize.IBytes(o.Bytes), humanize.IBytes(o.Used))
	})
}

func unmirrorCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "unmirror ADDRESS", Short: "Carry something no more, and delete its ciphertext here", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				u, err := s.Unmirror(ctx, api.UnmirrorRequest{Address: args[0]})
				if err != nil {
					return err
				}
				return e.print(u, func(w io.Writer) {
					fmt.Fprintf(w, "%s forgotten, %s\n", counted(u.Objects, "object", "objects"), humanize.IBytes(u.Bytes))
				})
			})
		},
	}
}

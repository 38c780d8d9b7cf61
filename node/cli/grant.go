package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// grantFlags are what grant and delegate have in common.
type grantFlags struct {
	r     api.GrantRequest
	lasts string
	class int
}

// caveatFlags are what grant, delegate and consent narrow in the same words.
func caveatFlags(c *cobra.Command, purposes, regions *[]string, class, depth *int) {
	f := c.Flags()
	f.StringArrayVar(purposes, "purpose", nil, "only for this purpose; may be repeated")
	f.IntVar(class, "classification", 255, "only what is classified so high or lower, 0 to 255")
	f.StringArrayVar(regions, "region", nil, "only for who is in this region; may be repeated")
	f.IntVar(depth, "depth", 0, "how many times it may be handed on")
}

// given is a flag's value where the flag was given.
func given(c *cobra.Command, flag string, value *int) *int {
	if !c.Flags().Changed(flag) {
		return nil
	}
	return value
}

func (g *grantFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&g.r.To, "to", "", "the contact, or a file with it, or an identity of this home")
	f.StringVar(&g.r.Can, "can", "read", "abilities: carry, read, infer, deploy, delegate, revoke, audit")
	f.StringVar(&g.lasts, "for", "24h", "how long, such as 90m, 24h or 7d")
	caveatFlags(c, &g.r.Purposes, &g.r.Regions, &g.class, &g.r.Depth)
	f.BoolVar(&g.r.Offline, "offline", false, "the holder may keep the key until the grant ends")
	f.StringVar(&g.r.As, "as", "", "the identity that gives it")
	c.MarkFlagRequired("to")
}

func (g *grantFlags) parse(c *cobra.Command) error {
	g.r.MaxClass = given(c, "classification", &g.class)
	d, err := parseDuration(g.lasts)
	if err != nil {
		return fault.Wrap(fault.Usage, err, "", "--for")
	}
	g.r.Seconds = int64(d / time.Second)
	g.r.To, err = argument(g.r.To)
	return err
}

// parseDuration is time.ParseDuration with days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no time", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

func grantCommand(e *Env) *cobra.Command {
	var g grantFlags
	c := &cobra.Command{
		Use: "grant ADDRESS --to CONTACT", Short: "Let somebody do something with what you own", Args: cobra.ExactArgs(1),
		Long: `Let somebody read what you own, for a time. The address means the object and its
later versions, a directory's address everything in it; --this-version narrows.
You consent, the validators sign, and the grant waits in its holder's mailbox.

Where policy leaves it to persons, the grant is pending: this node goes on asking,
and delivers it once enough of them have approved. See cerebrum grants --issued.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := g.parse(c); err != nil {
				return err
			}
			g.r.Address = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Grant(ctx, g.r)
				return e.printGranted(out, err)
			})
		},
	}
	g.add(c)
	c.Flags().StringVar(&g.r.Reason, "reason", "", "why, for policy and for the persons who may have to approve it")
	c.Flags().BoolVar(&g.r.ThisVersion, "this-version", false, "this version only, not the object's later ones")
	return c
}

func delegateCommand(e *Env) *cobra.Command {
	var g grantFlags
	c := &cobra.Command{
		Use: "delegate GRANT --to CONTACT", Short: "Hand on a grant that you hold, only narrower", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := g.parse(c); err != nil {
				return err
			}
			g.r.Parent = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Delegate(ctx, g.r)
				return e.printGranted(out, err)
			})
		},
	}
	g.add(c)
	return c
}

func (e *Env) printGranted(g *api.Granted, err error) error {
	if err != nil {
		return err
	}
	return e.print(g, func(w io.Writer) {
		fmt.Fprintln(w, g.Grant)
		if !e.Quiet {
			fmt.Fprintf(e.Err, "%s until %s, %s\n", g.State, g.Expires, counted(g.Signatures, "signature", "signatures"))
			if g.State == "pending" {
				fmt.Fprintln(e.Err, "it waits for persons at the validators; see `cerebrum grants`")
			}
		}
	})
}

func acceptCommand(e *Env) *cobra.Command {
	var as string
	c := &cobra.Command{
		Use: "grant-accept TOKEN", Short: "Take a grant that came by hand", Args: cobra.ExactArgs(1),
		Long: `Take a grant that came by hand instead of by mailbox. TOKEN may be a file, or -
for standard input. A token opens nothing without the identity that it is for.`,
		RunE: func(c *cobra.Command, args []string) error {
			const most = 256 << 10
			var token string
			var err error
			if args[0] == "-" {
				token, err = readText(e.In, "standard input", most)
			} else {
				token, err = textOf(args[0], most)
			}
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Accept(ctx, api.AcceptRequest{Token: token, As: as})
				return e.printGranted(out, err)
			})
		},
	}
	c.Flags().StringVar(&as, "as", "", "the identity that it is for")
	return c
}

func grantsCommand(e *Env) *cobra.Command {
	var mine, issued bool
	var as string
	c := &cobra.Command{
		Use: "grants [--mine|--issued]", Short: "The grants that you hold, or gave", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if mine && issued {
				return fault.New(fault.Usage, "", "name one of --mine and --issued")
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				gs, err := s.Grants(ctx, api.GrantsRequest{Issued: issued, As: as})
				if err != nil {
					return err
				}
				return e.print(gs, func(w io.Writer) { printGrants(w, gs, issued) })
			})
		},
	}
	c.Flags().BoolVar(&mine, "mine", false, "grants that you hold (the default)")
	c.Flags().BoolVar(&issued, "issued", false, "grants that you gave")
	c.Flags().StringVar(&as, "as", "", "of this identity")
	return c
}

func printGrants(w io.Writer, gs *api.Grants, issued bool) {
	for _, g := range gs.Grants {
		who, whose := "from", g.Owner
		if issued {
			who, whose = "to", g.Audience
		}
		fmt.Fprintf(w, "%s  %-7s  %s until %s  %s %s\n", g.Grant, g.State, g.Can, g.Expires, who, whose)
		if g.Address != "" {
			fmt.Fprintf(w, "  %s of %s\n", g.Target, g.Address)
		}
		if g.Reason != "" {
			fmt.Fprintf(w, "  %s\n", plain(g.Reason))
		}
	}
}

func grantShowCommand(e *Env) *cobra.Command {
	var r api.GrantShowRequest
	c := &cobra.Command{
		Use: "grant-show ID", Short: "One grant in words: who may do what, by whose word, and whether it is in force", Args: cobra.ExactArgs(1),
		Long: `Tell everything about a grant that you hold or gave: each hand that it went through
from its owner, with what each may do and for how long, the owner's consent, the
validators that signed, and whether it is in force, and why. ID may be its first digits.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.ID = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.GrantShow(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					for i := range out.Grants {
						printGrantShown(w, &out.Grants[i])
					}
				})
			})
		},
	}
	c.Flags().StringVar(&r.As, "as", "", "held or given by this identity")
	return c
}

func printGrantShown(w io.Writer, g *api.GrantShown) {
	fmt.Fprintf(w, "%s  %s: %s\n", g.Grant, g.State, plain(g.Why))
	if g.Address != "" {
		fmt.Fprintf(w, "for %s\n", g.Address)
	}
	for _, line := range g.Says {
		fmt.Fprintln(w, plain(line))
	}
	signers := "no validator"
	if len(g.Validators) > 0 {
		signers = "validators " + strings.Trim(strings.ReplaceAll(fmt.Sprint(g.Validators), " ", ", "), "[]")
	}
	record := "a committee record that is not known here"
	if g.Need > 0 {
		record = fmt.Sprintf("%d of %d have to; committee record: root epoch %d, version %d", g.Need, g.Of, g.RootEpoch, g.Version)
	}
	fmt.Fprintf(w, "Signed by %s (%s).\n", signers, record)
}

func revokeCommand(e *Env) *cobra.Command {
	var r api.RevokeRequest
	c := &cobra.Command{
		Use: "revoke GRANT|CONSENT", Short: "End a grant or a standing consent; returns when no key is released for it any more", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r.Grant = args[0]
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				v, err := s.Revoke(ctx, r)
				if err != nil {
					return err
				}
				return e.print(v, func(w io.Writer) {
					fmt.Fprintf(w, "keys stopped in %.2f s (%s acknowledged); ciphertext stopped at %d of %d known holders\n",
						v.Seconds, counted(v.Acks, "validator", "validators"), v.HoldersStopped, v.HoldersKnown)
					for _, x := range v.Residue {
						fmt.Fprintf(w, "  %s\n", plain(x))
					}
				})
			})
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "why, for the log")
	c.Flags().StringVar(&r.As, "as", "", "the identity that revokes")
	return c
}

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func consentCommand(e *Env) *cobra.Command {
	var r api.ConsentRequest
	var lasts, until string
	var class int
	c := &cobra.Command{
		Use: "consent ADDRESS --to CONTACT...|--role R", Short: "Agree beforehand to grants that others ask for", Args: cobra.ExactArgs(1),
		Long: `Agree to grants that the contacts named, or the holders of a role, make for
themselves with "cerebrum request", also while your node is off. Policy decides on
each: it may want a reason, or leave it to persons at the validators.

--for is how long one such grant lasts at most, --until when the consent itself
ends. --purpose, --classification, --region and --depth bound each grant too. For
who holds a role, you trust the validators. "cerebrum revoke CONSENT" ends it, with
all that was granted under it.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Address, r.MaxClass = args[0], given(c, "classification", &class)
			if (len(r.To) == 0) == (r.Role == "") {
				return fault.New(fault.Usage, "", "name either contacts with --to or a role with --role")
			}
			var err error
			if r.Seconds, err = seconds("--for", lasts); err != nil {
				return err
			}
			if r.UntilSeconds, err = seconds("--until", until); err != nil {
				return err
			}
			for i, to := range r.To {
				if r.To[i], err = argument(to); err != nil {
					return err
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Consent(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					fmt.Fprintln(w, out.Consent)
					if !e.Quiet {
						fmt.Fprintf(e.Err, "until %s, at %d of %d validators\n", out.Until, out.Kept, out.Of)
					}
				})
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&r.To, "to", nil, "a contact, or a file with it; may be repeated")
	f.StringVar(&r.Role, "role", "", "whoever holds this role")
	f.StringVar(&r.Can, "can", "read", "abilities: carry, read, infer, deploy, delegate, audit")
	f.StringVar(&lasts, "for", "1h", "how long one grant lasts at most")
	f.StringVar(&until, "until", "", "when the consent ends, from now, such as 90d")
	caveatFlags(c, &r.Purposes, &r.Regions, &class, &r.Depth)
	f.BoolVar(&r.ThisVersion, "this-version", false, "this version only, not the object's later ones")
	f.StringVar(&r.As, "as", "", "the identity that gives it")
	c.MarkFlagRequired("until")
	return c
}

// seconds reads a flag that is a time of at least a second.
func seconds(flag, s string) (int64, error) {
	d, err := parseDuration(s)
	if err != nil || d < time.Second {
		return 0, fault.New(fault.Usage, "", "%s is a time such as 12h or 90d", flag)
	}
	return int64(d / time.Second), nil
}

func consentsCommand(e *Env) *cobra.Command {
	var r api.ConsentsRequest
	c := &cobra.Command{
		Use: "consents", Short: "The standing consents that you gave", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Consents(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					for _, i := range out.Consents {
						who := "the role " + plain(i.Role)
						if i.Role == "" {
							who = strings.Join(i.To, ", ")
						}
						fmt.Fprintf(w, "%s  %-7s  %s of a %s for %s at a time, until %s  to %s\n",
							i.Consent, i.State, i.Can, i.Target, time.Duration(i.Seconds)*time.Second, i.Until, who)
						for _, term := range consentTerms(&i) {
							fmt.Fprintf(w, "  %s\n", term)
						}
					}
				})
			})
		},
	}
	c.Flags().StringVar(&r.As, "as", "", "of this identity")
	return c
}

// consentTerms says what narrows a standing consent.
func consentTerms(i *api.ConsentInfo) (out []string) {
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	if len(i.Purposes) > 0 {
		add("for %s", plain(strings.Join(i.Purposes, ", ")))
	}
	if i.MaxClass != nil {
		add("only what is classified %d or lower", *i.MaxClass)
	}
	if len(i.Regions) > 0 {
		add("only in %s", plain(strings.Join(i.Regions, ", ")))
	}
	if i.Depth > 0 {
		add("to be handed on, at most %d deep", i.Depth)
	}
	return out
}

func requestCommand(e *Env) *cobra.Command {
	var r api.AccessRequest
	var lasts string
	c := &cobra.Command{
		Use: "request ADDRESS", Short: "Ask for what its owner has agreed to beforehand", Args: cobra.ExactArgs(1),
		Long: `Make a grant to yourself under a standing consent of the owner that names you or a
role of yours. The validators decide on it as policy says, and log who asked and
why. Then "cerebrum get" reads. Where policy leaves it to persons, it is pending:
see "cerebrum grants".`,
		RunE: func(c *cobra.Command, args []string) (err error) {
			r.Address = args[0]
			if r.Seconds, err = seconds("--for", lasts); err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Request(ctx, r)
				return e.printGranted(out, err)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&r.Can, "can", "read", "abilities: carry, read, infer, deploy, delegate, audit")
	f.IntVar(&r.Depth, "depth", 0, "how many times it may be handed on, at most what the consent allows")
	f.StringVar(&lasts, "for", "1h", "how long, at most what the consent allows")
	f.StringArrayVar(&r.Purposes, "purpose", nil, "what it is for")
	f.StringVar(&r.Reason, "reason", "", "why, for policy and for the persons who may have to approve it")
	f.StringVar(&r.As, "as", "", "the identity that asks")
	return c
}

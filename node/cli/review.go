package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"github.com/spf13/cobra"
)

func accessReviewCommand(e *Env) *cobra.Command {
	var r api.AccessReviewRequest
	var expiring, unused string
	c := &cobra.Command{
		Use: "access-review", Short: "Who may do what now: grants in force by holder", Args: cobra.NoArgs,
		Long: `List the grants in force that you gave, and those handed on below them, by holder:
abilities, purposes, end, last use. --expiring 7d keeps those that end within a week,
--unused 30d those without a use for thirty days. "cerebrum revoke ID" ends one, and
all below it. At a validator --all lists whoever's grants it keeps.`,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, f := range []struct {
				name, text string
				to         *int64
			}{{"--expiring", expiring, &r.ExpiringSeconds}, {"--unused", unused, &r.UnusedSeconds}} {
				if f.text == "" {
					continue
				}
				var err error
				if *f.to, err = seconds(f.name, f.text); err != nil {
					return err
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				v, err := s.AccessReview(ctx, r)
				if err != nil {
					return err
				}
				return e.print(v, func(w io.Writer) { printReview(w, v) })
			})
		},
	}
	c.Flags().StringVar(&expiring, "expiring", "", "those that end within this time, such as 7d")
	c.Flags().StringVar(&unused, "unused", "", "those that nobody used for this time, such as 30d")
	c.Flags().BoolVar(&r.All, "all", false, "at a validator: all grants that it keeps")
	c.Flags().StringVar(&r.As, "as", "", "the identity whose grants are reviewed; all of this home otherwise")
	return c
}

func printReview(w io.Writer, v *api.AccessReview) {
	for _, h := range v.Holders {
		fmt.Fprintln(w, strings.TrimSpace(h.Identity+"  "+plain(h.Name)))
		for _, g := range h.Grants {
			printReviewed(w, &g)
		}
	}
	fmt.Fprintf(w, "%s, %s", counted(v.Grants, "grant", "grants"), counted(len(v.Holders), "holder", "holders"))
	if v.Expiring > 0 {
		fmt.Fprintf(w, ", %s soon", counted(v.Expiring, "ends", "end"))
	}
	if v.Unused > 0 {
		fmt.Fprintf(w, ", %d unused", v.Unused)
	}
	fmt.Fprintln(w)
	listed(w, "it cannot say", v.NotKnown)
}

func printReviewed(w io.Writer, g *api.AccessGrant) {
	fmt.Fprintf(w, "  %s\n", g.Grant)
	what := g.Can + " on a " + g.Target
	if g.Address != "" {
		what += " at " + g.Address
	}
	if g.Name != "" {
		what += " (" + g.Name + ")"
	}
	if len(g.Purposes) > 0 {
		what += ", for " + strings.Join(g.Purposes, ", ")
	}
	if len(g.Regions) > 0 {
		what += ", in " + strings.Join(g.Regions, ", ")
	}
	fmt.Fprintf(w, "    %s\n", plain(what))
	used := "no use known"
	if g.Uses > 0 {
		used = fmt.Sprintf("used %s, last %s", counted(g.Uses, "time", "times"), g.LastUse)
	}
	marks := ""
	if g.Expiring {
		marks += "  ENDS SOON"
	}
	if g.Unused {
		marks += "  UNUSED"
	}
	fmt.Fprintf(w, "    until %s; %s%s\n", g.Expires, used, marks)
	if g.Parent != "" {
		fmt.Fprintf(w, "    handed on under %s\n", g.Parent)
	}
	if n := len(g.Delegated); n > 0 {
		fmt.Fprintf(w, "    %s with it\n", counted(n, "below it, which ends", "below it, which end"))
	}
}

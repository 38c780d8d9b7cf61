package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func pendingCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "pending", Short: "The grants and roles that wait for you", Args: cobra.NoArgs,
		Long: `List the grants that policy neither permits nor forbids: they wait for a person,
for at most 30 days. The reason is whoever asks speaking; labels and class are
those of the objects deposited at this validator.

A role waits until the people at enough validators have asked for it: approve one
only if you know for what it is given.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				p, err := s.Pending(ctx)
				if err != nil {
					return err
				}
				return e.print(p, func(w io.Writer) {
					for i, g := range p.Pending {
						if i > 0 {
							fmt.Fprintln(w)
						}
						printPending(w, &g)
					}
					for i, r := range p.Roles {
						if i+len(p.Pending) > 0 {
							fmt.Fprintln(w)
						}
						printPendingRole(w, &r)
					}
					if len(p.Pending)+len(p.Roles) == 0 && !e.Quiet {
						fmt.Fprintln(e.Err, "nothing waits")
					}
				})
			})
		},
	}
}

// rows begins a request and prints it line by line.
func rows(w io.Writer, id string) func(k, format string, a ...any) {
	fmt.Fprintf(w, "%s\n", id)
	return func(k, format string, a ...any) {
		for i, line := range strings.Split(fmt.Sprintf(format, a...), "\n") {
			if i > 0 {
				k = ""
			}
			fmt.Fprintf(w, "  %-9s %s\n", k, plain(line))
		}
	}
}

func printPendingRole(w io.Writer, r *api.PendingRole) {
	row := rows(w, r.ID)
	row("gives", "the role %s", r.Role)
	to := r.Identity
	if r.Name != "" {
		to += " (" + r.Name + ")"
	}
	row("to", "%s", to)
	row("may", "from %s until %s", r.From, r.Expires)
	var who []string
	for _, i := range r.Askers {
		who = append(who, fmt.Sprintf("validator %d", i))
	}
	row("asked by", "%s; %d must ask", strings.Join(who, ", "), r.Need)
	row("asked", "%s, leaves the desk %s", r.Asked, r.Until)
}

func printPending(w io.Writer, g *api.PendingGrant) {
	row := rows(w, g.ID)
	row("from", "%s, who owns it", partyWords(g.Owner))
	row("to", "%s", partyWords(g.Audience))
	row("on", "%s %s, %s", g.Target, g.TargetID, counted(g.Objects, "object of it is here", "objects of it are here"))
	if g.Objects > 0 {
		labels := "no labels"
		if len(g.Labels) > 0 {
			labels = "labels " + strings.Join(g.Labels, ", ")
		}
		row("", "%s, class %d", labels, g.Class)
	}
	row("may", "%s, from %s until %s", g.Can, g.From, g.Expires)
	if len(g.Purposes) > 0 {
		row("for", "%s", strings.Join(g.Purposes, ", "))
	} else {
		row("for", "any purpose")
	}
	if g.Depth > 0 {
		row("", "may be handed on %s", counted(g.Depth, "time", "times"))
	}
	if g.Offline {
		row("", "the key may be kept until the end")
	}
	if g.Reason != "" {
		row("reason", "%s", g.Reason)
	}
	row("policy", "%s", g.Policy)
	row("asked", "%s, leaves the desk %s", g.Asked, g.Until)
}

func partyWords(p api.Party) string {
	out := p.Kind + " " + p.Identity[:min(len(p.Identity), 16)]
	if p.Name != "" {
		out += " (" + p.Name + ")"
	}
	return out
}

func approveCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "approve ID", Short: "Sign a grant that waits, or ask for a role too", Args: cobra.ExactArgs(1),
		Long: `Sign a grant that waits. Its consent, its time and policy are checked again: what
policy forbids by now, nobody can approve.

To approve a role is to ask all validators for it in your name. The last person
that is needed gives it.`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.decide(c.Context(), api.DecideRequest{ID: args[0], Approve: true})
		},
	}
}

func denyCommand(e *Env) *cobra.Command {
	r := api.DecideRequest{}
	c := &cobra.Command{
		Use: "deny ID --reason R", Short: "Deny a grant or a role that waits", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if r.ID = args[0]; r.Reason == "" || len(r.Reason) > 256 {
				return fault.New(fault.Usage, "the owner is told it", "--reason has 1 to 256 bytes")
			}
			return e.decide(c.Context(), r)
		},
	}
	c.Flags().StringVar(&r.Reason, "reason", "", "why; the owner of a grant is told, of a role it is for the log alone")
	c.MarkFlagRequired("reason")
	return c
}

func (e *Env) decide(ctx context.Context, r api.DecideRequest) error {
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		d, err := s.Decide(ctx, r)
		if err != nil {
			return err
		}
		return e.print(d, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", d.ID, d.State) })
	})
}

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

func roleCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "role", Short: "Who has which role in the network's policy",
		Long: `Give identities roles that policies speak of, for a time, and take them away.
These commands are for a validator's own node. A role is given once the people at
enough validators have asked for the very same one, more than may be faulty: one
runs "role assign", the others see it in "validator pending" and run "validator
approve ID". Whoever operates one validator, or broke into it, gives no role. Any
one validator takes a role away. A role lets nobody in by itself: a grant or
consent of the owner is needed too.

The role region/NAME says where somebody is.`,
	}
	c.AddCommand(roleAssign(e), roleRevoke(e), roleList(e))
	return c
}

func roleAssign(e *Env) *cobra.Command {
	var lasts string
	c := &cobra.Command{
		Use: "assign CONTACT ROLE --for D", Short: "Give a role for a time", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := parseDuration(lasts)
			if err != nil || d < time.Second {
				return fault.New(fault.Usage, "", "--for is a time such as 12h or 90d")
			}
			r, err := roleRequest(args)
			if err != nil {
				return err
			}
			r.Seconds = int64(d / time.Second)
			return e.roles(c.Context(), r, api.Service.RoleAssign)
		},
	}
	c.Flags().StringVar(&lasts, "for", "", "how long, such as 12h or 90d, at most 400d")
	c.MarkFlagRequired("for")
	return c
}

func roleRevoke(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "revoke CONTACT ROLE", Short: "Take a role away", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := roleRequest(args)
			if err != nil {
				return err
			}
			return e.roles(c.Context(), r, api.Service.RoleRevoke)
		},
	}
}

func roleList(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "list [CONTACT]", Short: "The roles of an identity, or of all", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := roleRequest(append(args, "")[:1])
			if err != nil {
				return err
			}
			return e.roles(c.Context(), r, api.Service.RoleList)
		},
	}
}

// roleRequest reads a contact, or a file with it, and a role.
func roleRequest(args []string) (r api.RoleRequest, err error) {
	if args[0] != "" {
		r.To, err = argument(args[0])
	}
	if len(args) > 1 {
		r.Role = args[1]
	}
	return r, err
}

func (e *Env) roles(ctx context.Context, r api.RoleRequest, do func(api.Service, context.Context, api.RoleRequest) (*api.RoleList, error)) error {
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		l, err := do(s, ctx, r)
		if err != nil {
			return err
		}
		return e.print(l, func(w io.Writer) {
			for _, r := range l.Roles {
				fmt.Fprintf(w, "%s  %-10s %s", r.Identity, r.State, plain(r.Role))
				if r.Expires != "" {
					fmt.Fprintf(w, "  until %s", r.Expires)
				}
				if r.Kept > 0 {
					fmt.Fprintf(w, "  at %s", counted(r.Kept, "validator", "validators"))
				}
				fmt.Fprintln(w)
				if r.State == "waits" && !e.Quiet {
					fmt.Fprintf(e.Err, "It waits for the person at another validator: cerebrum validator approve %s\n", r.ID)
				}
			}
		})
	})
}

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// inviteFlags are the flags of invite.
type inviteFlags struct {
	r             api.InviteRequest
	lasts, output string
	list          bool
	revoke        string
}

func inviteCommand(e *Env) *cobra.Command {
	var f inviteFlags
	c := &cobra.Command{
		Use: "invite", Short: "Invite somebody to the network, for one use", Args: cobra.NoArgs,
		Long: `Make an invitation, to be given to one newcomer, who joins with it:

  cerebrum invite --name ben --output ben.invite
  cerebrum join ben.invite                           # Ben, in a new home

An invitation is good once and for a time, a day unless --for says otherwise. There
is a secret in it: send it over a channel that nobody else reads. Identities of
validators may invite, and those with the role inviter. It brings its holder into
the network; it opens no data.`,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case f.list && f.revoke != "":
				return fault.New(fault.Usage, "", "name one of --list and --revoke")
			case f.list:
				return e.listInvitations(c.Context())
			case f.revoke != "":
				return e.uninvite(c.Context(), f.revoke)
			}
			return e.invite(c.Context(), &f)
		},
	}
	g := c.Flags()
	g.StringVar(&f.r.Role, "role", "node", "what the newcomer is: node, auditor, client or mirror")
	g.StringVar(&f.lasts, "for", "24h", "how long it can be used, such as 12h or 7d, at most 30d")
	g.StringVar(&f.r.Name, "name", "", "what you call the newcomer, for your list")
	g.StringVar(&f.r.As, "as", "", "the identity that invites")
	outputFlag(c, &f.output, "output", "o", "write it to this new file instead of standard output")
	g.BoolVar(&f.list, "list", false, "list the invitations that this home made")
	g.StringVar(&f.revoke, "revoke", "", "revoke the invitation with this id")
	return c
}

func (e *Env) invite(ctx context.Context, f *inviteFlags) error {
	lasts, err := parseDuration(f.lasts)
	if err != nil {
		return fault.New(fault.Usage, "", "--for is a time such as 12h or 7d")
	}
	f.r.Seconds = int64(lasts / time.Second)
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		if f.output != "" { // before anything is made
			if _, err := os.Lstat(f.output); err == nil {
				return fault.New(fault.Failed, "name a file that does not exist", "%s exists", f.output)
			}
		}
		out, err := s.Invite(ctx, f.r)
		if err != nil {
			return err
		}
		if f.output != "" {
			if err := writeSecret(f.output, []byte(out.Text)); err != nil {
				return err
			}
			out.Text, out.File = "", f.output
		}
		return e.print(out, func(w io.Writer) {
			if f.output == "" {
				fmt.Fprint(w, out.Text)
			} else {
				fmt.Fprintln(w, out.Invitation)
			}
			if !e.Quiet {
				fmt.Fprintf(e.Err, "good once, until %s; whoever has it can use it\n", out.Expires)
			}
		})
	})
}

func (e *Env) listInvitations(ctx context.Context) error {
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		l, err := s.Invitations(ctx)
		if err != nil {
			return err
		}
		return e.print(l, func(w io.Writer) {
			for _, i := range l.Invitations {
				fmt.Fprintf(w, "%s  %-7s  %-7s  until %s  %s", i.Invitation, i.State, i.Role, i.Expires, plain(i.Name))
				if i.Peer != "" {
					fmt.Fprintf(w, "  by %s", i.Peer)
				}
				fmt.Fprintln(w)
			}
		})
	})
}

func (e *Env) uninvite(ctx context.Context, id string) error {
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		out, err := s.Uninvite(ctx, api.UninviteRequest{Invitation: id})
		if err != nil {
			return err
		}
		return e.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "revoked at %s\n", counted(out.Acks, "validator", "validators"))
			if out.Member != "" {
				fmt.Fprintf(e.Err, "%s has used it and stays a member; remove it with `cerebrum peers remove`\n", out.Member)
			}
		})
	})
}

// maxInviteText is how much text of an invitation is read: base64 and line ends.
const maxInviteText = 2 * trust.MaxInvite

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/spf13/cobra"
)

func joinCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "join INVITE", Short: "Join a network with an invitation", Args: cobra.ExactArgs(1),
		Long: `Join the network that an invitation is for. INVITE is its file, or - for standard
input. The invitation says which network it is and names a recent record of its
committee, so that nobody can lead this home elsewhere. If it breaks off, run it
again: until the invitation expires it stays good for the home that used it first.`,
		RunE: func(c *cobra.Command, args []string) error {
			v, i, err := e.readInvite(args[0])
			if err != nil {
				return err
			}
			return e.join(c.Context(), v, i)
		},
	}
	// What is on the command line may be the invitation itself: it is not repeated.
	c.SetFlagErrorFunc(func(*cobra.Command, error) error {
		return fault.New(fault.Usage, inviteHint, "cerebrum join takes no such flag")
	})
	return c
}

const inviteHint = "INVITE is the file that `cerebrum invite -o FILE` wrote, or - for standard input"

// readInvite reads a file or standard input, and never the argument itself: what
// stands on a command line is no secret.
func (e *Env) readInvite(name string) (*trust.Invite, *trust.Invitation, error) {
	in := e.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, fault.New(fault.Failed, inviteHint, "there is no invitation that can be read under that name")
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInviteText))
	if err != nil {
		return nil, nil, fault.Wrap(fault.Failed, err, "", "reading the invitation")
	}
	v, i, err := home.DecodeInvite(text)
	switch {
	case errors.Is(err, home.ErrNoInvite):
		return nil, nil, fault.New(fault.Usage, "an invitation is what `cerebrum invite` prints; copy it whole", "that is no invitation")
	case err != nil:
		return nil, nil, fault.Wrap(fault.Integrity, err, "ask who invited you for it again", "the invitation")
	}
	return v, i, nil
}

func (e *Env) join(ctx context.Context, v *trust.Invite, i *trust.Invitation) error {
	h, err := e.open()
	if err != nil {
		return err
	}
	if h.Committee != nil {
		if h.Committee.Network() != i.Network {
			return fault.New(fault.Failed, "use another --home for another network", "this home belongs to the network %s already", plain(h.Committee.Name))
		}
		_, sits := h.Committee.ByPeer(h.PeerKey())
		if _, member := h.Network.Membership(h.Committee, h.PeerKey(), e.Now()); sits || member {
			return fault.New(fault.Failed, "start it with `cerebrum run`; the invitation is still good", "this home is a member of the network %s already", plain(h.Committee.Name))
		}
	}
	if c := client.Dial(ctx, h.Dir); c != nil {
		c.Close()
		return fault.New(fault.Failed, "stop the node first", "a node runs on this home")
	}
	if err := i.Live(e.Now()); err != nil {
		return fault.New(fault.Denied, "ask for another one: its maker runs `cerebrum invite`", "the invitation has expired or is not valid yet")
	}
	f, err := daemon.Join(ctx, h, v, i, slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: slog.LevelError})), e.Now)
	if err != nil {
		return err
	}
	if err := h.UseNetwork(f, e.Now()); err != nil {
		return err
	}
	out := struct {
		Network string `json:"network"`
		Name    string `json:"network_name"`
		Role    string `json:"role"`
		PeerID  string `json:"peer_id"`
	}{h.Committee.Network().String(), h.Committee.Name, i.Role.String(), daemon.PeerID(h.PeerKey())}
	return e.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s, as %s\n", out.Network, plain(out.Name), out.Role)
		if !e.Quiet {
			fmt.Fprintln(e.Err, "start the node with `cerebrum run`")
		}
	})
}

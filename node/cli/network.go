package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/spf13/cobra"
)

const cardPrefix = "cerebrum-card-1."

func networkCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "network", Short: "Found a network, sign it, look at it, adopt it, renew it",
		Long: `Found a network:

  each validator      cerebrum validator card > v1.card
  each node           cerebrum network card > n1.card
  somebody            cerebrum network create --name lab --validators v1.card --validators v2.card ... \
                        --root CONTACT --nodes n1.card -o lab.network
  validators, roots   cerebrum network sign lab.network
  everybody           cerebrum network use lab.network

Renew it within 90 days, or change who its validators are:

  somebody            cerebrum network rotate -o next.network
  K validators        cerebrum network sign next.network
  one running node    cerebrum network use next.network`,
	}
	c.AddCommand(networkCreate(e), networkSign(e), networkShow(e), networkUse(e), networkRotate(e), networkCard(e))
	return c
}

// readCard reads a card, typed or from a file. Space around it and line breaks inside it,
// which mail programs add, are ignored.
func readCard(s string) (*trust.Card, *identity.Identity, error) {
	text, err := argument(s)
	if err != nil {
		return nil, nil, err
	}
	body, ok := strings.CutPrefix(text, cardPrefix)
	raw, derr := base64.RawURLEncoding.Strict().DecodeString(body)
	if !ok || derr != nil {
		return nil, nil, fault.New(fault.Usage, "a card is what `cerebrum validator card` and `cerebrum network card` print", "%s is no card", clip(s))
	}
	c, id, err := trust.ParseCard(raw)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Integrity, err, "ask for it again", "%s", clip(s))
	}
	return c, id, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// argument is the text of a file, or the argument itself.
// createFlags are the numbers and members of a new network.
type createFlags struct {
	name                     string
	validators, nodes, roots []string
	k, t, f                  int
	rootThreshold            int
	output                   string
}

func networkCreate(e *Env) *cobra.Command {
	var n createFlags
	c := &cobra.Command{
		Use: "create", Short: "Draft the first committee record of a network", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file, id, err := n.draft(e.Now())
			if err != nil {
				return err
			}
			text, err := home.EncodeNetwork(file)
			if err != nil {
				return err
			}
			if err := writeNew(n.output, text); err != nil {
				return err
			}
			out := struct {
				Network string `json:"network"`
				File    string `json:"file"`
			}{id.String(), n.output}
			return e.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n", id)
				fmt.Fprintf(e.Err, "%s is a draft: every validator and the root keys sign it with `cerebrum network sign %s`\n", n.output, n.output)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&n.name, "name", "", "the network's name")
	f.StringArrayVar(&n.validators, "validators", nil, "a validator's card, once for each")
	f.StringArrayVar(&n.nodes, "nodes", nil, "a node's card, once for each")
	f.StringArrayVar(&n.roots, "root", nil, "the contact of a root key's holder, once for each")
	f.IntVar(&n.k, "threshold", 0, "signatures that a statement needs")
	f.IntVar(&n.t, "shares", 0, "shares that a key needs (default: as many as signatures)")
	f.IntVar(&n.f, "faults", -1, "liars or losses survived (default: as many as the number of validators allows)")
	f.IntVar(&n.rootThreshold, "root-threshold", 0, "root keys that a recovery needs (default: a majority)")
	outputFlag(c, &n.output, "output", "o", "write the draft to this new file (default NAME.network)")
	c.MarkFlagRequired("name")
	c.MarkFlagRequired("validators")
	c.MarkFlagRequired("root")
	return c
}

func (n *createFlags) draft(now time.Time) (*trust.File, statement.ID, error) {
	if n.output == "" {
		n.output = n.name + ".network"
	}
	if err := n.checkNumbers(); err != nil {
		return nil, statement.ID{}, err
	}
	g := trust.Founding{Name: n.name, Numbers: trust.Default(len(n.validators)), RootThreshold: n.rootThreshold}
	if n.f >= 0 {
		g.Numbers.F = uint16(n.f)
	}
	if n.k > 0 {
		g.Numbers.K, g.Numbers.T = uint16(n.k), uint16(n.k)
	}
	if n.t > 0 {
		g.Numbers.T = uint16(n.t)
	}
	fail := func(err error) (*trust.File, statement.ID, error) { return nil, statement.ID{}, err }
	var err error
	if g.Validators, err = validatorCards(n.validators); err != nil {
		return fail(err)
	}
	if g.Nodes, err = cardsOfNodes(n.nodes); err != nil {
		return fail(err)
	}
	if g.Roots, err = rootKeys(n.roots); err != nil {
		return fail(err)
	}
	file, id, err := g.Draft(policy.Builtin(), now)
	if err != nil {
		return fail(fault.Wrap(fault.Usage, err, "", "the network cannot be founded"))
	}
	return file, id, nil
}

// checkNumbers refuses what would become another number in a record, which has
// 16 bits for each.
func (n *createFlags) checkNumbers() error {
	for _, x := range []struct {
		flag         string
		value, unset int
	}{{"threshold", n.k, 0}, {"shares", n.t, 0}, {"faults", n.f, -1}, {"root-threshold", n.rootThreshold, 0}} {
		if x.value < x.unset || x.value > math.MaxUint16 {
			return fault.New(fault.Usage, "4 validators with threshold 3 survive one failure", "--%s cannot be %d", x.flag, x.value)
		}
	}
	return nil
}

func readNetwork(path string) (*trust.File, error) {
	raw, err := home.NetworkText(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the network file")
	}
	f, err := home.DecodeNetwork(raw)
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "ask its sender for it again", "%s", path)
	}
	return f, nil
}

func networkSign(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "sign FILE [COPY...]", Short: "Sign a draft as a validator or root, or join signed copies", Args: cobra.MinimumNArgs(1),
		Long: `Sign a draft with the keys of this home, as a validator, as a root, or both. The
node memberships in it are signed too. Signatures in COPY files are taken over, so
that validators may sign copies side by side.

A validator signs one record for a version and never another: the home remembers.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := mayRewrite(args[0]); err != nil {
				return err
			}
			f, err := readNetwork(args[0])
			if err != nil {
				return err
			}
			for _, path := range args[1:] {
				other, err := readNetwork(path)
				if err != nil {
					return err
				}
				if err := f.Merge(other); err != nil {
					return fault.Wrap(fault.Failed, err, "", "%s", path)
				}
			}
			h, err := e.open()
			if err != nil {
				return err
			}
			added, err := e.signWith(c.Context(), f, h)
			if err != nil {
				return err
			}
			if added == 0 && len(args) == 1 {
				return fault.New(fault.Denied, "sign with a home whose card or contact is in the draft", "this home is neither validator nor root of the draft")
			}
			text, err := home.EncodeNetwork(f)
			if err != nil {
				return err
			}
			if err := disk.Replace(args[0], text); err != nil {
				return err
			}
			_, _, missing, err := f.Draft()
			if err != nil {
				return err
			}
			out := struct {
				Signed  int      `json:"signed"`
				Missing []string `json:"missing"`
			}{added, append([]string{}, missing...)}
			return e.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s added", counted(added, "signature", "signatures"))
				if len(missing) > 0 {
					fmt.Fprintf(w, "; missing: %s", strings.Join(missing, ", "))
				}
				fmt.Fprintln(w)
			})
		},
	}
}

// signWith signs with every key of a home that has a place in the file. Validators
// have no part in a skip, which is there because they do not agree.
func (e *Env) signWith(ctx context.Context, f *trust.File, h *home.Home) (int, error) {
	r, _, _, err := f.Draft()
	if err != nil {
		return 0, fault.Wrap(fault.Integrity, err, "ask its sender for it again", "the network file")
	}
	var keys []statement.PrivateKey
	v, err := h.ValidatorKeys(false)
	if err != nil {
		return 0, err
	}
	if v != nil && !r.Skip {
		keys = append(keys, v.Signing)
	}
	for _, p := range h.Principals() {
		keys = append(keys, p.Device)
	}
	guard := guardOf{func(q api.PermitRequest) error {
		return e.serviceOn(ctx, h, func(ctx context.Context, s api.Service) error {
			_, err := s.Permit(ctx, q)
			return err
		})
	}}
	added := 0
	for _, k := range keys {
		n, err := f.SignGuarded(k, guard)
		if err != nil {
			return added, err
		}
		added += n
	}
	return added, nil
}

func networkShow(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show [FILE]", Short: "Show a network file, or the network of this home", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := e.networkFile(c.Context(), args)
			if err != nil {
				return err
			}
			return e.showNetwork(f)
		},
	}
}

func networkUse(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "use FILE", Short: "Adopt a network, or publish its next record", Args: cobra.ExactArgs(1),
		Long: `Adopt the network of FILE. A home that belongs to it already takes the further
committee records in FILE; where its node runs, all connected members learn of
them at once, and the others when they connect.`,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := readNetwork(args[0])
			if err != nil {
				return err
			}
			h, err := e.open()
			if err != nil {
				return err
			}
			if h.Network != nil {
				return e.adopt(c.Context(), h, args[0])
			}
			if err := h.UseNetwork(f, e.Now()); err != nil {
				return err
			}
			out := struct {
				Network string `json:"network"`
			}{h.Committee.Network().String()}
			return e.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s  %s\n", out.Network, plain(h.Committee.Name)) })
		},
	}
}

// adopt has the home take the further records of a file.
func (e *Env) adopt(ctx context.Context, h *home.Home, path string) error {
	path, err := absolute(path)
	if err != nil {
		return err
	}
	return e.serviceOn(ctx, h, func(ctx context.Context, s api.Service) error {
		out, err := s.Adopt(ctx, api.AdoptRequest{Path: path})
		if err != nil {
			return err
		}
		return e.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s, root epoch %d, version %d\n", out.Network, plain(out.Name), out.RootEpoch, out.Version)
			if !out.Newest {
				fmt.Fprintln(e.Err, "the home knows a newer record than the file")
			}
		})
	})
}

func networkCard(e *Env) *cobra.Command {
	var addresses []string
	c := &cobra.Command{
		Use: "card", Short: "Print this node's card, for whoever founds the network", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return e.card(false, addresses) },
	}
	c.Flags().StringArrayVar(&addresses, "address", nil, "where the node can be reached (default: its configured addresses)")
	return c
}

func (e *Env) card(validator bool, addresses []string) error {
	h, err := e.open()
	if err != nil {
		return err
	}
	if len(addresses) == 0 {
		addresses = h.Config.Listen
	}
	if validator && len(addresses) == 0 {
		return fault.New(fault.Usage, "give them with --address, or set listen in config.toml to fixed ports", "a validator's card needs the addresses where it can be reached")
	}
	for _, a := range addresses {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return fault.Wrap(fault.Usage, err, "an address looks like /ip4/192.0.2.7/tcp/4801", "--address %s", a)
		}
		if manet.IsIPUnspecified(m) {
			return fault.New(fault.Usage, "give the address that others dial with --address", "nobody can dial %s", a)
		}
	}
	raw, err := h.Card(validator, addresses)
	if err != nil {
		return err
	}
	text := cardPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return e.print(struct {
		Card string `json:"card"`
	}{text}, func(w io.Writer) { fmt.Fprintln(w, text) })
}

func validatorCommand(e *Env) *cobra.Command {
	var addresses []string
	card := &cobra.Command{
		Use: "card", Short: "Print this validator's card, for whoever founds the network", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return e.card(true, addresses) },
	}
	card.Flags().StringArrayVar(&addresses, "address", nil, "where the validator can be reached (default: its configured addresses)")
	c := &cobra.Command{Use: "validator", Short: "For members of the committee"}
	c.AddCommand(card, pendingCommand(e), approveCommand(e), denyCommand(e))
	return c
}

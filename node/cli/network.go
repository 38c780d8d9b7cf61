package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/spf13/cobra"
)

const cardPrefix = "cerebrum-card-1."

func networkCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "network", Short: "Found a network, sign it, look at it, adopt it",
		Long: `Found a network:

  each validator      cerebrum validator card > v1.card
  each node           cerebrum network card > n1.card
  somebody            cerebrum network create --name lab --validators v1.card --validators v2.card ... \
                        --root CONTACT --nodes n1.card -o lab.network
  validators, roots   cerebrum network sign lab.network
  everybody           cerebrum network use lab.network`,
	}
	c.AddCommand(networkCreate(e), networkSign(e), networkShow(e), networkUse(e), networkCard(e))
	return c
}

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
func argument(s string) (string, error) {
	f, err := os.Open(s)
	if err != nil {
		return strings.TrimSpace(s), nil
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return strings.TrimSpace(string(raw)), err
}

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
	f.StringVarP(&n.output, "output", "o", "", "write the draft to this new file (default NAME.network)")
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
	for _, s := range n.validators {
		c, _, err := readCard(s)
		if err != nil {
			return fail(err)
		}
		if len(c.Validator) == 0 {
			return fail(fault.New(fault.Usage, "a validator's card is what `cerebrum validator card` prints", "%s is a node's card", clip(s)))
		}
		g.Validators = append(g.Validators, c.Validator[0])
	}
	for _, s := range n.nodes {
		c, id, err := readCard(s)
		if err != nil {
			return fail(err)
		}
		g.Nodes = append(g.Nodes, trust.Member{Peer: c.Peer, Identity: id.ID()})
	}
	for _, s := range n.roots {
		text, err := argument(s)
		if err != nil {
			return fail(err)
		}
		id, err := identity.ParseContact(text)
		if err != nil {
			return fail(fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "--root"))
		}
		g.Roots = append(g.Roots, id.Devices()[0])
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

func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.Wrap(fault.Failed, err, "name a file that does not exist", "the output")
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func readNetwork(path string) (*trust.File, error) {
	raw, err := os.ReadFile(path)
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
that validators may sign copies side by side.`,
		RunE: func(_ *cobra.Command, args []string) error {
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
			added, err := signWith(f, h)
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
				fmt.Fprintf(w, "%d signatures added", added)
				if len(missing) > 0 {
					fmt.Fprintf(w, "; missing: %s", strings.Join(missing, ", "))
				}
				fmt.Fprintln(w)
			})
		},
	}
}

// signWith signs with every key of a home that has a place in the file.
func signWith(f *trust.File, h *home.Home) (int, error) {
	var keys []statement.PrivateKey
	v, err := h.ValidatorKeys(false)
	if err != nil {
		return 0, err
	}
	if v != nil {
		keys = append(keys, v.Signing)
	}
	for _, p := range h.Principals() {
		keys = append(keys, p.Device)
	}
	added := 0
	for _, k := range keys {
		n, err := f.Sign(k)
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
		RunE: func(_ *cobra.Command, args []string) error {
			var f *trust.File
			if len(args) > 0 {
				var err error
				if f, err = readNetwork(args[0]); err != nil {
					return err
				}
			} else {
				h, err := e.open()
				if err != nil {
					return err
				}
				if f = h.Network; f == nil {
					return fault.New(fault.Usage, "adopt one with `cerebrum network use FILE`", "this home belongs to no network yet")
				}
			}
			return e.showNetwork(f)
		},
	}
}

type networkResult struct {
	Network    string   `json:"network"`
	Name       string   `json:"name"`
	N          uint16   `json:"n"`
	F          uint16   `json:"f"`
	K          uint16   `json:"k"`
	T          uint16   `json:"t"`
	Version    uint64   `json:"version"`
	Expires    string   `json:"expires"`
	Validators []string `json:"validators"`
	Members    int      `json:"members"`
	Missing    []string `json:"missing"`
}

func (e *Env) showNetwork(f *trust.File) error {
	r, id, missing, err := f.Draft()
	if err != nil {
		return fault.Wrap(fault.Integrity, err, "ask its sender for it again", "the network file")
	}
	out := networkResult{
		Network: id.String(), Name: r.Name, N: r.Numbers.N, F: r.Numbers.F, K: r.Numbers.K, T: r.Numbers.T, Version: r.Version,
		Expires: time.Unix(r.Expires, 0).UTC().Format(time.RFC3339), Members: len(f.Memberships), Missing: append([]string{}, missing...),
	}
	for _, v := range r.Validators {
		out.Validators = append(out.Validators, v.Identity.String())
	}
	return e.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "network     %s\nname        %s\ncommittee   %d validators; %d sign, %d shares open, %d may fail\nexpires     %s\nmembers     %d\n",
			out.Network, plain(out.Name), out.N, out.K, out.T, out.F, out.Expires, out.Members)
		for i, v := range out.Validators {
			fmt.Fprintf(w, "validator %d %s\n", i+1, v)
		}
		if out.N == 1 {
			fmt.Fprintln(w, "one validator decides alone: it can read everything, and nothing works without it")
		}
		if len(missing) > 0 {
			fmt.Fprintf(w, "a draft; signatures are missing: %s\n", strings.Join(missing, ", "))
		}
	})
}

func networkUse(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "use FILE", Short: "Adopt a network", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := readNetwork(args[0])
			if err != nil {
				return err
			}
			h, err := e.open()
			if err != nil {
				return err
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

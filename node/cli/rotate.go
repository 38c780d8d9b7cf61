package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/spf13/cobra"
)

// rotateFlags say how the next committee record differs from the newest one.
type rotateFlags struct {
	validators, add, remove []string
	nodes, without          []string
	k, t, f                 int

	recover       bool
	roots         []string
	rootThreshold int
	oldest        string
	skip          bool
	output        string
}

func networkRotate(e *Env) *cobra.Command {
	var r rotateFlags
	c := &cobra.Command{
		Use: "rotate [FILE]", Short: "Draft the next committee record", Args: cobra.MaximumNArgs(1),
		Long: `Draft the committee record that follows the newest one of this home, or of FILE.
Without a change it renews the record and the memberships for 90 days.

The draft counts once enough have signed it with ` + "`cerebrum network sign`" + `: K of the
validators before and K of the new ones; for --recover the root keys and K of the
new validators; for --skip the root keys. Then anybody publishes it from a running
node with ` + "`cerebrum network use`" + `, and the others take it over from there.`,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := e.networkFile(c.Context(), args)
			if err != nil {
				return err
			}
			next, err := r.draft(f, e.Now())
			if err != nil {
				return err
			}
			return e.printDraft(next, r.output)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&r.validators, "validators", nil, "the card of each validator, in place of all that there are")
	f.StringArrayVar(&r.add, "add", nil, "the card of a validator that comes, once for each")
	f.StringArrayVar(&r.remove, "remove", nil, "a validator that goes: its number from 1, identity or peer id")
	f.IntVar(&r.k, "threshold", 0, "signatures that a statement needs")
	f.IntVar(&r.t, "shares", 0, "shares that a key needs")
	f.IntVar(&r.f, "faults", -1, "liars or losses survived")
	f.StringArrayVar(&r.nodes, "nodes", nil, "the card of a node that becomes a member, once for each")
	f.StringArrayVar(&r.without, "without", nil, "the peer id of a member that is not renewed")
	f.BoolVar(&r.recover, "recover", false, "repair with the root keys: supersedes every record of this root epoch")
	f.StringArrayVar(&r.roots, "root", nil, "with --recover: the contact of each new root key's holder")
	f.IntVar(&r.rootThreshold, "root-threshold", 0, "with --recover: root keys that the next recovery needs")
	f.StringVar(&r.oldest, "oldest", "", "the id of the oldest record that still counts (a recovery without it ends all before it)")
	f.BoolVar(&r.skip, "skip", false, "void the next version, for which votes were split, with the root keys")
	outputFlag(c, &r.output, "output", "o", "write the draft to this new file (default NAME-VERSION.network)")
	return c
}

func (e *Env) printDraft(next *trust.File, path string) error {
	r, id, missing, err := next.Draft()
	if err != nil {
		return err
	}
	if path == "" {
		path = fmt.Sprintf("%s-%d.network", r.Name, r.Version)
	}
	text, err := home.EncodeNetwork(next)
	if err != nil {
		return err
	}
	if err := writeNew(path, text); err != nil {
		return err
	}
	out := struct {
		File      string   `json:"file"`
		Record    string   `json:"record"`
		RootEpoch uint64   `json:"root_epoch"`
		Version   uint64   `json:"version"`
		Missing   []string `json:"missing"`
	}{path, id.String(), r.RootEpoch, r.Version, missing}
	return e.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s  version %d\n", id, r.Version)
		fmt.Fprintf(e.Err, "%s is a draft: sign it with `cerebrum network sign %s`\n", path, path)
		for _, m := range missing {
			fmt.Fprintf(e.Err, "  missing: %s\n", m)
		}
	})
}

// networkFile reads a file, or asks the home for what its node knows.
func (e *Env) networkFile(ctx context.Context, args []string) (*trust.File, error) {
	if len(args) > 0 {
		return readNetwork(args[0])
	}
	var f *trust.File
	err := e.service(ctx, func(ctx context.Context, s api.Service) error {
		got, err := s.Network(ctx)
		if err == nil {
			f, err = home.DecodeNetwork([]byte(got.File))
		}
		return err
	})
	return f, err
}

// draft makes the file of the next record.
func (r *rotateFlags) draft(f *trust.File, now time.Time) (*trust.File, error) {
	before, err := f.Committee()
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "sign it first with `cerebrum network sign`, or leave FILE out", "the record to follow is not complete")
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	next := before.Record
	next.Skip, next.Oldest = r.skip, nil
	if !r.skip {
		if err := r.change(&next, before); err != nil {
			return nil, err
		}
		next.NotBefore, next.Expires = now.Add(-time.Minute).Unix(), now.Add(trust.Lifetime-time.Minute).Unix()
	}
	without, err := r.leaving(f)
	if err != nil {
		return nil, err
	}
	out, err := f.DraftNext(next, f.Policy, without)
	switch {
	case errors.Is(err, trust.ErrInequality):
		return nil, fault.Wrap(fault.Usage, err, "4 validators with threshold 3 survive one failure", "such a committee is refused")
	case err != nil:
		return nil, fault.Wrap(fault.Usage, err, "see `cerebrum network show`", "the record cannot be drafted")
	}
	if r.skip {
		out.Memberships = nil // only validators sign them, and a skip is there because they do not; the old ones go on
		return out, nil
	}
	members, err := cardsOfNodes(r.nodes)
	if err != nil {
		return nil, err
	}
	return out, out.Enrol(members...)
}

// check refuses flags that do not go together, and numbers that would wrap.
func (r *rotateFlags) check() error {
	n := createFlags{k: r.k, t: r.t, f: r.f, rootThreshold: r.rootThreshold}
	if err := n.checkNumbers(); err != nil {
		return err
	}
	changes := len(r.validators)+len(r.add)+len(r.remove)+len(r.nodes)+len(r.without)+r.k+r.t > 0 || r.f >= 0 || r.oldest != ""
	switch {
	case r.skip && (changes || r.recover):
		return fault.New(fault.Usage, "rotate afterwards", "--skip changes nothing else")
	case !r.recover && (len(r.roots) > 0 || r.rootThreshold > 0):
		return fault.New(fault.Usage, "add --recover", "only a recovery changes root keys")
	case len(r.validators) > 0 && len(r.add)+len(r.remove) > 0:
		return fault.New(fault.Usage, "use --add and --remove, or name all with --validators", "--validators replaces the whole list")
	}
	return nil
}

func (r *rotateFlags) change(next *trust.Record, before *trust.Committee) (err error) {
	if next.Validators, err = r.committee(before); err != nil {
		return err
	}
	if len(next.Validators) > trust.MaxValidators {
		return fault.New(fault.Usage, "", "a committee has at most %d validators", trust.MaxValidators)
	}
	if len(next.Validators) != len(before.Validators) {
		next.Numbers = trust.Default(len(next.Validators))
	}
	if r.f >= 0 {
		next.Numbers.F = uint16(r.f)
	}
	if r.k > 0 {
		next.Numbers.K, next.Numbers.T = uint16(r.k), uint16(r.k)
	}
	if r.t > 0 {
		next.Numbers.T = uint16(r.t)
	}
	if r.recover {
		if err := r.changeRoots(next); err != nil {
			return err
		}
	}
	if r.oldest != "" {
		id, err := statement.ParseID(r.oldest)
		if err != nil {
			return fault.Wrap(fault.Usage, err, "see `cerebrum network show`", "--oldest")
		}
		next.Oldest = id[:]
	}
	return nil
}

func (r *rotateFlags) changeRoots(next *trust.Record) error {
	next.RootEpoch++
	if len(r.roots) > 0 {
		keys, err := rootKeys(r.roots)
		if err != nil {
			return err
		}
		next.RootKeys, next.RootThreshold = keys, uint16(len(keys)/2+1)
	}
	if r.rootThreshold > 0 {
		next.RootThreshold = uint16(r.rootThreshold)
	}
	return nil
}

// committee is the list of validators after the changes.
func (r *rotateFlags) committee(before *trust.Committee) ([]trust.Validator, error) {
	if len(r.validators) > 0 {
		return validatorCards(r.validators)
	}
	gone := map[int]bool{}
	for _, name := range r.remove {
		i, ok := findValidator(before, name)
		if !ok {
			return nil, fault.New(fault.Usage, "see `cerebrum network show`", "--remove %s names no validator", clip(name))
		}
		gone[i] = true
	}
	come, err := validatorCards(r.add)
	if err != nil {
		return nil, err
	}
	// Who comes takes the place of who goes: the numbers of the others stay.
	var out []trust.Validator
	for i, v := range before.Validators {
		switch {
		case !gone[i]:
			out = append(out, v)
		case len(come) > 0:
			out, come = append(out, come[0]), come[1:]
		}
	}
	return append(out, come...), nil
}

func findValidator(c *trust.Committee, name string) (int, bool) {
	if i, err := strconv.Atoi(name); err == nil {
		return i - 1, i >= 1 && i <= len(c.Validators)
	}
	for i, v := range c.Validators {
		if v.Identity.String() == name || daemon.PeerID(v.Peer) == name {
			return i, true
		}
	}
	return 0, false
}

func validatorCards(cards []string) ([]trust.Validator, error) {
	var out []trust.Validator
	for _, s := range cards {
		c, _, err := readCard(s)
		if err != nil {
			return nil, err
		}
		if len(c.Validator) == 0 {
			return nil, fault.New(fault.Usage, "a validator's card is what `cerebrum validator card` prints", "%s is a node's card", clip(s))
		}
		out = append(out, c.Validator[0])
	}
	return out, nil
}

func cardsOfNodes(cards []string) ([]trust.Member, error) {
	var out []trust.Member
	for _, s := range cards {
		c, id, err := readCard(s)
		if err != nil {
			return nil, err
		}
		out = append(out, trust.Member{Peer: c.Peer, Identity: id.ID()})
	}
	return out, nil
}

func rootKeys(contacts []string) ([]statement.PublicKey, error) {
	if len(contacts) > math.MaxUint8 {
		return nil, fault.New(fault.Usage, "", "a network has at most %d root keys", trust.MaxRootKeys)
	}
	var out []statement.PublicKey
	for _, s := range contacts {
		text, err := argument(s)
		if err != nil {
			return nil, err
		}
		id, err := identity.ParseContact(text)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "a contact is what `cerebrum id show` prints", "--root")
		}
		out = append(out, id.Devices()[0])
	}
	return out, nil
}

// leaving are the keys of the members that are not renewed.
func (r *rotateFlags) leaving(f *trust.File) (out []statement.PublicKey, err error) {
	members := f.Members()
	last, err := f.Committee()
	if err != nil {
		return nil, err
	}
	for _, name := range r.without {
		found := false
		for _, m := range members {
			if daemon.PeerID(m.Peer) != name && m.Identity.String() != name {
				continue
			}
			if !m.IssuedWith(last.Enrols()) { // it renews itself, whatever a file says
				return nil, fault.New(fault.Usage, "remove it with `cerebrum peers remove "+daemon.PeerID(m.Peer)+"`",
					"--without %s: its membership came by an invitation or a renewal, and no file ends it", clip(name))
			}
			out, found = append(out, m.Peer), true
		}
		if !found {
			return nil, fault.New(fault.Usage, "see `cerebrum peers`", "--without %s names no member", clip(name))
		}
	}
	return out, nil
}

// difference says in words what a record changes.
func difference(before *trust.Committee, r *trust.Record) (comes, goes, numbers []string) {
	had := map[statement.PublicKey]bool{}
	for _, v := range before.Validators {
		had[v.Signing] = true
	}
	for i, v := range r.Validators {
		if !had[v.Signing] {
			comes = append(comes, fmt.Sprintf("%d %s", i+1, v.Identity))
		}
		delete(had, v.Signing)
	}
	for i, v := range before.Validators {
		if had[v.Signing] {
			goes = append(goes, fmt.Sprintf("%d %s", i+1, v.Identity))
		}
	}
	a, b := before.Numbers, r.Numbers
	for _, x := range []struct {
		name     string
		from, to uint16
	}{{"n", a.N, b.N}, {"f", a.F, b.F}, {"k", a.K, b.K}, {"t", a.T, b.T}, {"root threshold", before.RootThreshold, r.RootThreshold}} {
		if x.from != x.to {
			numbers = append(numbers, fmt.Sprintf("%s %d -> %d", x.name, x.from, x.to))
		}
	}
	if len(comes)+len(goes)+len(numbers) == 0 && !r.Skip && r.RootEpoch == before.RootEpoch {
		numbers = []string{"none: it renews the time"}
	}
	return comes, goes, numbers
}

// guardOf asks the guard of the home, in its running node or in its store.
type guardOf struct {
	ask func(api.PermitRequest) error
}

// Permit implements trust.Permitter.
func (g guardOf) Permit(kind string, epoch, version uint64, id statement.ID) error {
	return g.ask(api.PermitRequest{Kind: kind, Epoch: epoch, Version: version, ID: id.String()})
}

func words(list []string) string { return strings.Join(list, ", ") }

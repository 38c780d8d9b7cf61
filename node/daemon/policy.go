package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

func newNonce() (n [16]byte) {
	rand.Read(n[:])
	return n
}

// heard is that a validator follows a policy that is not known here.
type heard struct {
	index int
	head  statement.ID
}

// heardPolicy has a validator's bundles fetched where its policy is not known
// here. It does not wait. What it is told is a hint: a bundle is believed for its
// signatures.
func (n *Node) heardPolicy(index int, head statement.ID) {
	if n.judge == nil || n.judge.Policies.Knows(head) {
		return
	}
	select {
	case n.newer <- heard{index, head}:
	default: // the next answer says it again
	}
}

// policyLoop fetches bundles that other validators have.
func (n *Node) policyLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-n.newer:
			if err := n.learnPolicy(ctx, h.index, h.head); err != nil && ctx.Err() == nil {
				n.log.Info("a validator's policy was not learned", "validator", h.index+1, "err", err)
			}
		}
	}
}

// maxLearned is how many bundles one answer of a validator makes us fetch.
const maxLearned = 64

// learnPolicy fetches the bundles that a validator has beyond ours, one after the
// other, until its head is known. Every one is verified before it is kept.
func (n *Node) learnPolicy(ctx context.Context, index int, head statement.ID) error {
	for range maxLearned {
		if n.judge.Policies.Knows(head) {
			return nil
		}
		raw, err := n.quorum.AskBundle(ctx, index, n.judge.Policies.Version())
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return errors.New("it has no bundle with the head that it names")
		}
		if err := n.judge.TakeBundle(ctx, raw); err != nil {
			return err
		}
	}
	return nil
}

// bundleOf is the bundle of a version, or of the one in force.
func (n *Node) bundleOf(word string) (b *policy.Bundle, inForce bool, err error) {
	const hint = "a version is a number, or newest; see `cerebrum policy show`"
	h := n.judge.Policies
	engine, err := h.InForce(n.now())
	if err != nil {
		return nil, false, err
	}
	version := h.Version()
	switch word {
	case "newest":
	case "":
		for ; version > 0; version-- {
			if b, err = h.Bundle(version); err != nil || b.Head() == engine.Head() {
				return b, true, err
			}
		}
	default:
		if version, err = strconv.ParseUint(word, 10, 32); err != nil {
			return nil, false, fault.New(fault.Usage, hint, "%q is no version", word)
		}
	}
	if version > h.Version() {
		return nil, false, fault.New(fault.NotFound, hint, "the newest version here is %d", h.Version())
	}
	if b, err = h.Bundle(version); err != nil {
		return nil, false, err
	}
	return b, b.Head() == engine.Head(), nil
}

// Policy implements api.Desk.
func (n *Node) Policy(_ context.Context, r api.PolicyRequest) (*api.Policy, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	b, inForce, err := n.bundleOf(r.Word)
	if err != nil {
		return nil, err
	}
	forks, err := n.judge.Policies.Forks()
	if err != nil {
		return nil, err
	}
	out := &api.Policy{
		Version: b.Version, Head: b.Head().String(), InForce: inForce, Newest: n.judge.Policies.Version(), Forks: len(forks),
		Schema: b.Schema, Entities: string(b.Entities), Policies: []api.PolicyText{},
	}
	if b.NotBefore > 0 {
		out.From = stamp(b.NotBefore)
	}
	for _, p := range b.Policies {
		out.Policies = append(out.Policies, api.PolicyText{ID: p.ID, Text: p.Text})
	}
	return out, nil
}

// LoadPolicy reads a bundle from a folder or file that people wrote.
func LoadPolicy(path string) (*policy.Bundle, error) {
	b, err := policy.Load(os.DirFS(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "correct it; `cerebrum policy check` tries it again", "%s", path)
	}
	return b, nil
}

// CheckPolicy refuses a bundle under which nobody seems to get anything.
func CheckPolicy(b *policy.Bundle, force bool, from time.Time) error {
	err := policy.Check(b, policy.CheckOptions{Force: force, From: from})
	switch {
	case errors.Is(err, policy.ErrLockout):
		return fault.Wrap(fault.Usage, err, "if that is meant, repeat it with --force", "the policy is not taken")
	case err != nil:
		return fault.Wrap(fault.Usage, err, "correct it; `cerebrum policy check` tries it again", "the policy")
	}
	return nil
}

// PolicyPropose implements api.Desk.
func (n *Node) PolicyPropose(_ context.Context, r api.ProposeRequest) (*api.Proposal, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	b, err := LoadPolicy(r.Path)
	if err != nil {
		return nil, err
	}
	from := time.Unix(r.From, 0)
	if r.From == 0 {
		from = n.now()
	}
	next := n.judge.Policies.Follow(b, from)
	if err := CheckPolicy(next, r.Force, time.Unix(next.NotBefore, 0)); err != nil {
		return nil, err
	}
	raw, err := policy.Propose(next)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "", "the policy cannot be proposed")
	}
	p, err := policy.ReadProposal(raw, n.trust.Current())
	if err != nil {
		return nil, err
	}
	return describeProposal(p, raw), nil
}

func describeProposal(p *policy.Proposal, raw []byte) *api.Proposal {
	by, of := p.Signed()
	out := &api.Proposal{Version: p.Version, Head: p.Head().String(), From: stamp(p.NotBefore), Signed: []int{}, Of: of, Content: raw}
	for _, i := range by {
		out.Signed = append(out.Signed, i+1)
	}
	return out
}

// maxProposal is the longest file of a proposal, in bytes.
const maxProposal = 1 << 20

func readProposalFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the proposal")
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxProposal+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxProposal {
		return nil, fault.New(fault.Usage, "", "%s has more than %d bytes and is no proposal", path, maxProposal)
	}
	return raw, nil
}

// PolicySign implements api.Desk. What the operator signs is checked like what
// the operator proposes, and a validator signs one bundle of a version only.
func (n *Node) PolicySign(ctx context.Context, r api.SignPolicyRequest) (*api.Proposal, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	raw, err := readProposalFile(r.Path)
	if err != nil {
		return nil, err
	}
	record := n.trust.Current()
	for _, path := range r.Copies {
		other, err := readProposalFile(path)
		if err != nil {
			return nil, err
		}
		if raw, err = policy.MergeProposals(raw, other, record); err != nil {
			return nil, fault.Wrap(fault.Usage, err, "", "%s", path)
		}
	}
	p, err := policy.ReadProposal(raw, record)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, err, "make one with `cerebrum policy propose`", "%s", r.Path)
	}
	if err := CheckPolicy(p.Bundle, r.Force, time.Unix(p.NotBefore, 0)); err != nil {
		return nil, err
	}
	id := record.ID()
	if !n.judge.Policies.Knows(p.Head()) {
		if raw, err = n.signProposal(p, "policy-"+hex.EncodeToString(id[:16])); err != nil {
			return nil, err
		}
	}
	head := p.Head()
	if err := n.record(ctx, event.PolicySign, event.OK, event.Act{Actor: n.home.Principals()[0].Identity.ID(), Bundle: head}); err != nil {
		return nil, err
	}
	return describeProposal(p, raw), nil
}

func (n *Node) signProposal(p *policy.Proposal, guarded string) ([]byte, error) {
	if err := p.Follows(n.judge.Policies); err != nil { // before the guard is used up for it
		hint := "propose it again with `cerebrum policy propose`"
		if errors.Is(err, policy.ErrGap) {
			hint = "adopt the versions before it first"
		}
		return nil, fault.Wrap(fault.Usage, err, hint, "the proposal does not follow the policy here")
	}
	if err := n.judge.Guard.Permit(guarded, 0, p.Version, p.Head()); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "sign the same proposal as the others; a new committee record makes a fresh start", "this validator signs one policy of a version only")
	}
	return p.Sign(n.judge.Signing, n.judge.Policies)
}

// PolicyAdopt implements api.Desk.
func (n *Node) PolicyAdopt(ctx context.Context, r api.AdoptRequest) (*api.PolicyAdopted, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	raw, err := readProposalFile(r.Path)
	if err != nil {
		return nil, err
	}
	b, err := policy.VerifyBundle(raw, n.trust)
	if err != nil {
		return nil, fault.Wrap(fault.Denied, err, "have more validators sign it with `cerebrum policy sign`", "the policy is not adopted")
	}
	if err := n.judge.TakeBundle(ctx, raw); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "see `cerebrum policy show`", "the policy is not adopted")
	}
	out := &api.PolicyAdopted{Version: b.Version, Head: b.Head().String(), From: stamp(b.NotBefore), Taken: 1, Of: len(n.trust.Current().Validators)}
	if n.running.Load() {
		if out.Taken, err = n.quorum.SendBundle(ctx, raw); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PolicySimulate implements api.Desk.
func (n *Node) PolicySimulate(_ context.Context, r api.SimulateRequest) (*api.Simulated, error) {
	if err := n.needsJudge(); err != nil {
		return nil, err
	}
	id, who, err := n.identityID(r.As)
	if err != nil {
		return nil, err
	}
	now := n.now().Truncate(time.Second)
	q := policy.Request{
		Principal: id, PrincipalKind: "User", Action: r.Action, ObjectKind: r.Kind, Purpose: r.Purpose, Reason: r.Reason,
		Roles: append(n.judge.Roles.Roles(id, now), r.Roles...), Batch: 1, Consented: true, Now: now,
	}
	if who != nil {
		q.PrincipalKind = map[string]string{"agent": "Agent", "service": "Service"}[who.Kind().String()]
		if q.PrincipalKind == "" {
			q.PrincipalKind = "User"
		}
	}
	q.Region = policy.Region(q.Roles)
	if err := n.simulateOn(r, &q); err != nil {
		return nil, err
	}
	engine, err := n.judge.Policies.InForce(now)
	if r.Path != "" {
		b, lerr := LoadPolicy(r.Path)
		if lerr != nil {
			return nil, lerr
		}
		engine, err = policy.NewEngine(b)
	}
	if err != nil {
		return nil, err
	}
	x := engine.Explain(q)
	out := &api.Simulated{Allow: x.Allow, Settled: x.Settled, Policies: append([]string{}, x.Policies...), Roles: append([]string{}, q.Roles...), Bundle: x.Bundle.String(), Why: x.String()}
	if !x.Allow {
		out.Told = engine.Wants(q)
	}
	return out, nil
}

// simulateOn fills in the object that a question is about.
func (n *Node) simulateOn(r api.SimulateRequest, q *policy.Request) error {
	if id, err := statement.ParseID(r.On); err == nil {
		q.Object = id
	} else {
		address, err := parseAddress(r.On)
		if err != nil {
			return fault.Wrap(fault.Usage, err, "name an address, or the id by which policies know it", "--on")
		}
		if err := n.aboutAddress(address, q); err != nil {
			return err
		}
	}
	q.Labels = append(q.Labels, r.Labels...)
	if r.Class > 0 {
		q.Classification = r.Class
	}
	return nil
}

func (n *Node) aboutAddress(address cid.Cid, q *policy.Request) error {
	kind := q.ObjectKind
	err := n.judge.About(address.Bytes(), q)
	if kind != "" {
		q.ObjectKind = kind
	}
	if err != nil {
		return fault.Wrap(fault.NotFound, err, "name an object that was deposited here", "%s", address)
	}
	return nil
}

// Package quorum asks a network's validators and counts their answers.
//
// A [Committee] is the client's side of package validator: deposits, signatures,
// deliveries, mailboxes, releases, revocations and freshness. What has to be known
// by many goes to every validator in parallel; what a few can answer is asked of so
// many first. Either is decided as soon as enough have answered.
package quorum

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// Method names a service of a validator.
type Method string

// The services of a validator.
const (
	Deposit  Method = "deposit"
	Sign     Method = "sign"
	Deliver  Method = "deliver"
	Mailbox  Method = "mailbox"
	Release  Method = "release"
	Newest   Method = "latest"
	Revoke   Method = "revoke"
	Erase    Method = "erase"
	Hold     Method = "hold"
	Keep     Method = "keep"
	Fresh    Method = "fresh"
	Tail     Method = "tail"
	Role     Method = "role"
	Bundle   Method = "bundle"
	Seen     Method = "seen"
	Consent  Method = "consent"
	Consents Method = "consents"
	Identity Method = "identity"
	Carry    Method = "carry"
	Proof    Method = "proof"
)

// Session is what a proof of possession needs of a connection.
type Session struct {
	Server    statement.PublicKey
	Client    statement.PublicKey
	Challenge [32]byte // given to us by the server
	Counter   func() uint64
}

// Transport carries requests to validators.
type Transport interface {
	// Call sends to the validator with a peer key what build makes for the
	// session of the connection, and returns its answer. A denial is ErrDenied, an
	// answer that says the request was bad ErrRefused, everything else ErrUnreachable.
	Call(ctx context.Context, server statement.PublicKey, m Method, build func(Session) ([]byte, error)) ([]byte, error)
}

// Errors of a transport.
var (
	ErrDenied      = errors.New("denied")
	ErrRefused     = errors.New("refused as malformed")
	ErrUnreachable = errors.New("did not answer")
)

// Committee asks validators. It is safe for concurrent use.
type Committee struct {
	Trust     *trust.Chain
	Transport Transport
	Now       func() time.Time
	// Took is handed the receipts that validators give, each verified. It may be
	// called by several goroutines, must not block, and may be nil.
	Took func(Receipt)

	own pace // how validators answer

	record *trust.Committee // of a call under way
	pace   *pace            // of the committee that the call is of
}

// pin is the committee for one call: the record does not change in the middle.
func (c *Committee) pin() *Committee {
	if c.record != nil {
		return c
	}
	return &Committee{Trust: c.Trust, Transport: c.Transport, Now: c.Now, Took: c.Took, record: c.Trust.Current(), pace: &c.own}
}

// server is the peer key of the validator at an index. Behind the validators of
// the record come those of the record before that are in it no more: they hold
// shares until a rotation is complete.
func (c *Committee) server(index int) statement.PublicKey {
	if n := len(c.record.Validators); index >= n {
		return c.retired()[index-n]
	}
	return c.record.Validators[index].Peer
}

// retired are the peer keys of the validators that the record replaced.
func (c *Committee) retired() (out []statement.PublicKey) {
	if len(c.record.Previous) != len(statement.ID{}) {
		return nil
	}
	before, err := c.Trust.ByID(statement.ID(c.record.Previous))
	if err != nil {
		return nil
	}
	for _, v := range before.Validators {
		if _, still := c.record.ByPeer(v.Peer); !still {
			out = append(out, v.Peer)
		}
	}
	return out
}

// answer is what one validator said.
type answer struct {
	index int
	raw   []byte
	err   error
}

// ask sends to the validators in which and calls take with each answer, on one
// goroutine, until take says it has enough or all have answered. Requests still
// under way then are given up, unless linger keeps them going for that long.
func (c *Committee) ask(ctx context.Context, m Method, which []int, linger time.Duration, build func(int, Session) ([]byte, error), take func(answer) (enough bool)) {
	c.askFirst(ctx, m, which, len(which), linger, build, take)
}

// askFirst is ask, but begins with some of them. The others are asked as soon as
// one of the first fails or denies, or all have answered and it is not enough; one
// more for each that is silent for longer than answers usually take.
func (c *Committee) askFirst(ctx context.Context, m Method, which []int, first int, linger time.Duration, build func(int, Session) ([]byte, error), take func(answer) (enough bool)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := round{c: c, which: which, answers: make(chan answer, len(which)), open: map[int]time.Time{}}
	r.call = func(i int) ([]byte, error) {
		return c.Transport.Call(ctx, c.server(i), m, func(s Session) ([]byte, error) { return build(i, s) })
	}
	r.send(first)
	more := time.NewTimer(c.pace.hedge())
	defer more.Stop()
	var timeout <-chan time.Time
	for got := 0; got < len(which); {
		select {
		case a := <-r.answers:
			got++
			r.note(a)
			if take(a) && timeout == nil {
				if linger == 0 {
					return
				}
				t := time.NewTimer(linger)
				defer t.Stop()
				timeout = t.C
			}
			if a.err != nil || len(r.open) == 0 {
				r.send(len(which))
			}
		case <-more.C:
			r.send(r.waited())
			more.Reset(c.pace.hedge())
		case <-timeout:
			return
		case <-ctx.Done():
			return
		}
	}
}

// round is the requests of one call of askFirst. It is used by one goroutine.
type round struct {
	c       *Committee
	call    func(index int) ([]byte, error) // ends with the round
	which   []int                           // in the order in which they are asked
	asked   int                             // how many of them were
	open    map[int]time.Time               // since when their answers are awaited
	answers chan answer
}

// send asks more validators, as many as there are at most.
func (r *round) send(more int) {
	for ; more > 0 && r.asked < len(r.which); more-- {
		i := r.which[r.asked]
		r.asked++
		r.open[i] = r.c.Now()
		go func() { // ends with the call
			raw, err := r.call(i)
			r.answers <- answer{i, raw, err}
		}()
	}
}

// note keeps how long an answer took.
func (r *round) note(a answer) {
	if now := r.c.Now(); errors.Is(a.err, ErrUnreachable) {
		r.c.pace.waited(r.c.server(a.index), now)
	} else {
		r.c.pace.answered(r.c.server(a.index), now.Sub(r.open[a.index]))
	}
	delete(r.open, a.index)
}

// waited notes who has not answered, and counts them.
func (r *round) waited() int {
	now := r.c.Now()
	for i := range r.open {
		r.c.pace.waited(r.c.server(i), now)
	}
	return len(r.open)
}

func (c *Committee) everybody() []int {
	out := make([]int, len(c.record.Validators))
	for i := range out {
		out[i] = i
	}
	return out
}

// shuffled is everybody in an order of chance, so that all have their part of the
// load; behind them those that were silent a moment ago.
func (c *Committee) shuffled() []int {
	all := c.everybody()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	c.pace.order(all, c.server, c.Now())
	return all
}

// errWrong marks an answer that came and cannot be right: its validator lies or
// is broken.
var errWrong = errors.New("answered wrongly")

// judge turns an answer that a check found wrong into a failure.
func (a *answer) judge(err error) {
	if err != nil {
		a.err = fmt.Errorf("%w: %w", errWrong, err)
	}
}

// tally counts answers for the sentence that a person reads.
type tally struct {
	answered, denied, refused, wrong []int

	pending []int                    // wait for a person
	policy  []*validator.PolicyError // of those that denied
	reasons []string                 // of persons who denied
	clocks  int                      // denied because of the time
	hint    string                   // what whoever is denied this may do; none: get a grant
}

// Next steps of denials that no grant helps against.
const (
	hintGrant = "the object's label residency may keep it from the holder: see `cerebrum role list`; `cerebrum policy simulate` says what policy wants"
	hintHold  = "holds are for identities with the role legal-officer and for validators' own: ask the validators for the role"
	hintRole  = "roles are given by validators' own identities"
)

func (t *tally) add(a answer) {
	switch {
	case a.err == nil:
		t.answered = append(t.answered, a.index)
	case errors.Is(a.err, ErrDenied):
		t.denied = append(t.denied, a.index)
		t.why(a)
	case errors.Is(a.err, ErrRefused):
		t.refused = append(t.refused, a.index)
	case errors.Is(a.err, errWrong):
		t.wrong = append(t.wrong, a.index)
	}
}

// certain reports that so many denied that too few are left to answer.
func (c *Committee) certain(t *tally, need int) bool {
	return len(t.denied) > int(c.record.Numbers.N)-need
}

// decided reports that no further answer changes the outcome.
func (c *Committee) decided(t *tally, need int) bool {
	return len(t.answered) >= need || c.certain(t, need)
}

// shortage says how many are needed and which answered.
func (c *Committee) shortage(t *tally, need int, what string) error {
	if c.certain(t, need) {
		return c.denial(t, what)
	}
	return fault.New(fault.Unavailable, "see `cerebrum status`; try again when more validators can be reached",
		"%s needs %d of %d validators, and %s", what, need, len(c.record.Validators), t.words())
}

// denial says why it was denied, as far as more validators than may lie say so.
func (c *Committee) denial(t *tally, what string) error {
	if err := c.byPolicy(t, what); err != nil {
		return err
	}
	n := len(c.record.Validators)
	switch {
	case t.clocks > int(c.record.Numbers.F):
		return fault.New(fault.Denied, "set this machine's clock, then try again",
			"%s was denied: this machine's clock is more than a minute away from those of %d of %d validators", what, t.clocks, n)
	case len(t.reasons) > 0:
		return fault.New(fault.Denied, "change what it asks for, or talk to the validators", "%s was denied by %d of %d validators: %s", what, len(t.denied), n, strings.Join(t.reasons, "; "))
	}
	hint := t.hint
	if hint == "" {
		hint = "ask its owner for a grant, or see `cerebrum grants --mine`"
	}
	return fault.New(fault.Denied, hint, "%s was denied by %d of %d validators", what, len(t.denied), n)
}

// words names validators as people count them, from 1.
func (t *tally) words() string {
	var parts []string
	for _, group := range []struct {
		which []int
		text  string
	}{{t.answered, "answered:"}, {t.pending, "asked a person:"}, {t.denied, "denied:"}, {t.refused, "refused:"}, {t.wrong, "answered wrongly:"}} {
		if len(group.which) == 0 {
			continue
		}
		var names []string
		for _, i := range slices.Sorted(slices.Values(group.which)) {
			names = append(names, fmt.Sprint(i+1))
		}
		parts = append(parts, group.text+" "+strings.Join(names, ", "))
	}
	if len(parts) == 0 {
		return "none answered"
	}
	return strings.Join(parts, "; ")
}

// denials is how many make a refusal of a key certain: fewer than T are left.
func (c *Committee) denials() int {
	return int(c.record.Numbers.N) - int(c.record.Numbers.T) + 1
}

// ProveIdentity makes the authority of a request that stands on an identity.
func (c *Committee) ProveIdentity(p *home.Principal, s Session, request statement.ID) ([]byte, error) {
	proof, err := c.prove(p, s, request, statement.ID{})
	if err != nil {
		return nil, err
	}
	return statement.Marshal(capability.Authority{Identity: p.Identity.Record(), Proof: proof})
}

// ProveChain makes the authority of a request that stands on a chain.
func (c *Committee) ProveChain(p *home.Principal, chain *capability.Chain, s Session, request statement.ID) ([]byte, error) {
	shown, err := show(chain, p)
	if err != nil {
		return nil, err
	}
	return c.proveShown(p, shown, s, request)
}

// shown is a chain as it is shown to others.
type shown struct {
	leaf statement.ID
	raw  []byte
}

func show(chain *capability.Chain, p *home.Principal) (shown, error) {
	leaf, err := chain.Leaf()
	if err != nil {
		return shown{}, err
	}
	return shown{leaf, withDocument(chain, p).Bytes()}, nil
}

func (c *Committee) proveShown(p *home.Principal, ch shown, s Session, request statement.ID) ([]byte, error) {
	proof, err := c.prove(p, s, request, ch.leaf)
	if err != nil {
		return nil, err
	}
	return statement.Marshal(capability.Authority{Chain: ch.raw, Proof: proof})
}

// withDocument shows a chain with the newest document of who proves possession:
// the chain was made when the identity may have had other devices. Documents are
// beside what is signed, so that anybody may bring them up to date.
func withDocument(chain *capability.Chain, p *home.Principal) *capability.Chain {
	out := *chain
	out.Identities = slices.Clone(chain.Identities)
	for i, doc := range out.Identities {
		if id, err := identity.IDOf(doc); err == nil && id == p.Identity.ID() {
			out.Identities[i] = p.Identity.Record()
		}
	}
	return &out
}

func (c *Committee) prove(p *home.Principal, s Session, request, leaf statement.ID) ([]byte, error) {
	return capability.Prove(capability.Proof{
		Request: request, Leaf: leaf, Server: s.Server, Client: s.Client, Network: c.Trust.Network(),
		Challenge: s.Challenge, Counter: s.Counter(), Time: c.Now().Unix(),
	}, p.Identity, p.Device)
}

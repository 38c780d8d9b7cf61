package capability

import (
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// ClockSkew is how far a requester's clock may be from the verifier's. Replay is
// prevented by challenge and counter; time is what policy sees as now.
const ClockSkew = 60 * time.Second

// ErrClock is the [ErrProof] of who proves by another clock than the verifier's. It
// says nothing of what was asked for, so that the requester may be told.
var ErrClock = fmt.Errorf("%w: the clocks are more than a minute apart", ErrProof)

const (
	maxProof  = 4 << 10  // bytes
	maxBeside = 16 << 10 // bytes of an authority beside its chain
)

// Proof is the body of a proof of possession: this device of the leaf's
// audience makes this request, to this peer, on this connection, once.
type Proof struct {
	_         struct{}     `cbor:",toarray"`
	Request   statement.ID // digest of the whole request
	Leaf      statement.ID // zero for requests that stand on an identity alone
	Server    statement.PublicKey
	Client    statement.PublicKey // peer key of the requester on the connection
	Network   statement.ID
	Challenge [32]byte // the one that the server gave at admission
	Counter   uint64
	Time      int64 // unix seconds
}

// Expectation is what the server knows about the connection and the request.
type Expectation struct {
	Request        statement.ID
	Leaf           statement.ID
	Server, Client statement.PublicKey
	Network        statement.ID
	Challenge      [32]byte
	UseCounter     func(uint64) bool // false for a counter that was used on this connection
	Now            time.Time
}

// Prove signs a proof with a device.
func Prove(p Proof, id *identity.Identity, device statement.PrivateKey) ([]byte, error) {
	index, ok := id.DeviceIndex(device.Public())
	if !ok {
		return nil, fmt.Errorf("this device does not belong to the identity")
	}
	s, err := statement.New(KindProof, p)
	if err != nil {
		return nil, err
	}
	s.AddSignature(index, device)
	return s.Bytes(), nil
}

// CheckProof verifies a proof by an identity and returns its time. The counter
// is consumed last, and only by a proof whose signature holds, so that nobody
// can use up another's counters.
func CheckProof(raw []byte, who *identity.Identity, want Expectation) (time.Time, error) {
	p, err := readProof(raw, want)
	if err != nil {
		return time.Time{}, err
	}
	if _, err := p.check(who, want); err != nil {
		return time.Time{}, err
	}
	return p.at, nil
}

// claimedProof is a proof that says what it should, and that nobody has verified.
type claimedProof struct {
	signed  *statement.Statement
	counter uint64
	at      time.Time
}

// readProof compares what a proof says with what is expected, which costs no
// signature verification.
func readProof(raw []byte, want Expectation) (*claimedProof, error) {
	bad := func(what string) (*claimedProof, error) { return nil, fmt.Errorf("%w: %s", ErrProof, what) }
	if len(raw) > maxProof {
		return bad("it is too long")
	}
	s, err := statement.Parse(raw)
	if err != nil {
		return bad("it is malformed")
	}
	var p Proof
	if err := s.Peek(KindProof, &p); err != nil {
		return bad("it is malformed")
	}
	at := time.Unix(p.Time, 0)
	switch {
	case p.Request != want.Request:
		return bad("it is for another request")
	case p.Leaf != want.Leaf:
		return bad("it is for another grant")
	case p.Server != want.Server:
		return bad("it is for another peer")
	case p.Client != want.Client:
		return bad("it comes from another peer")
	case p.Network != want.Network:
		return bad("it is for another network")
	case p.Challenge != want.Challenge:
		return bad("it is for another connection")
	case at.Before(want.Now.Add(-ClockSkew)) || at.After(want.Now.Add(ClockSkew)):
		return nil, ErrClock
	}
	return &claimedProof{s, p.Counter, at}, nil
}

// check verifies who signed, and returns the device. Only one that speaks for the
// identity now proves anything: one that was removed is gone, or somebody else's.
func (p *claimedProof) check(who *identity.Identity, want Expectation) (statement.PublicKey, error) {
	device, ok := p.device(who)
	if !ok {
		return device, fmt.Errorf("%w: it is not signed by the audience", ErrProof)
	}
	if !want.UseCounter(p.counter) {
		return device, fmt.Errorf("%w: it was used before", ErrProof)
	}
	return device, nil
}

func (p *claimedProof) device(who *identity.Identity) (statement.PublicKey, bool) {
	if len(p.signed.Signers()) == 1 {
		for _, key := range who.Devices() {
			if at, ok := who.DeviceIndex(key); ok && p.signed.VerifyAt(KindProof, at, key) == nil {
				return key, true
			}
		}
	}
	return statement.PublicKey{}, false
}

// Authority is what opens a request: a chain and a proof by its audience, or an
// identity document and a proof by that identity where no grant is needed. It is
// a union with these members.
type Authority struct {
	_        struct{} `cbor:",toarray"`
	Chain    []byte   // encoded Chain; empty where Identity is set
	Identity []byte   // identity document
	Proof    []byte
}

// ParseAuthority decodes an authority and checks its form.
func ParseAuthority(raw []byte) (*Authority, error) {
	var a Authority
	if len(raw) > MaxChain+maxBeside {
		return nil, fmt.Errorf("%w: too long", ErrChain)
	}
	if err := statement.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	if (len(a.Chain) == 0) == (len(a.Identity) == 0) {
		return nil, fmt.Errorf("%w: either a chain or an identity is shown", ErrChain)
	}
	return &a, nil
}

// Open verifies an authority that shows a chain, and its proof. It returns the
// chain and the time in the proof. What the proof says is compared before any
// signature is verified: a chain replayed by who does not hold it costs little.
// Of a chain that held before, only its wording is remembered beyond what
// [Verifier.Verify] remembers; all else is checked again.
func (vf *Verifier) Open(a *Authority, want Expectation) (*Verified, time.Time, error) {
	fail := func(err error) (*Verified, time.Time, error) { return nil, time.Time{}, err }
	key := statement.Hash("chain", a.Chain)
	w, known := vf.chains.get(key, rememberedChains)
	var c *Chain
	var err error
	if known {
		want.Leaf = w.leafID()
	} else {
		if c, err = ParseChain(a.Chain); err != nil {
			return fail(err)
		}
		if want.Leaf, err = c.Leaf(); err != nil {
			return fail(fmt.Errorf("%w: %w", ErrChain, err))
		}
	}
	p, err := readProof(a.Proof, want)
	if err != nil {
		return fail(err)
	}
	if !known {
		if w, err = readWording(c, vf.Trust.Network()); err != nil {
			return fail(fmt.Errorf("%w: %w", ErrChain, err))
		}
	}
	cl, err := vf.look(w)
	if err != nil {
		return fail(err)
	}
	v, err := vf.verify(cl)
	if err != nil {
		return fail(err)
	}
	if v.prover, err = p.check(v.audience, want); err != nil {
		return fail(err)
	}
	if !known && len(a.Chain) <= rememberedBytes {
		vf.chains.add(key, w, rememberedChains)
	}
	return v, p.at, nil
}

// OpenIdentity verifies an authority that shows an identity alone. It returns the
// identity with what the logs know of it, and the time in the proof.
func (vf *Verifier) OpenIdentity(a *Authority, want Expectation) (*identity.Identity, time.Time, error) {
	fail := func(err error) (*identity.Identity, time.Time, error) { return nil, time.Time{}, err }
	want.Leaf = statement.ID{}
	p, err := readProof(a.Proof, want)
	if err != nil {
		return fail(err)
	}
	id, err := vf.Identity(a.Identity)
	if err != nil {
		return fail(err)
	}
	if _, err := p.check(id, want); err != nil {
		return fail(err)
	}
	return id, p.at, nil
}

package quorum_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/quorum"
)

// behaviour is what a validator does instead of answering. ask has the request
// judged and gives the honest answer.
type behaviour func(ctx context.Context, m quorum.Method, request []byte, ask func() ([]byte, error)) ([]byte, error)

// world is a committee, its people, and the client of one of them. It is the
// transport between them: every call is a new connection.
type world struct {
	*vt.Network
	alice, bob, mallory *vt.Person
	as                  *vt.Person // whose node calls

	mu     sync.Mutex
	behave map[int]behaviour // owned by mu
}

func newWorld(t testing.TB, o vt.Options) (*world, *quorum.Committee) {
	t.Helper()
	w := &world{
		Network: vt.New(t, o), behave: map[int]behaviour{},
		alice: vt.NewPerson(t, "alice", identity.User), bob: vt.NewPerson(t, "bob", identity.User), mallory: vt.NewPerson(t, "mallory", identity.User),
	}
	w.as = w.bob
	return w, &quorum.Committee{Trust: w.Network.Chain, Transport: w, Now: w.Clock.Now}
}

// set makes validators behave; nil makes them honest again.
func (w *world) set(b behaviour, which ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range which {
		w.behave[i] = b
	}
}

// Call implements [quorum.Transport].
func (w *world) Call(ctx context.Context, server statement.PublicKey, m quorum.Method, build func(quorum.Session) ([]byte, error)) ([]byte, error) {
	index, ok := w.Network.Committee.ByPeer(server)
	if !ok {
		return nil, quorum.ErrUnreachable
	}
	w.mu.Lock()
	b, as := w.behave[index], w.as
	w.mu.Unlock()
	s := w.Connect(as, index)
	raw, err := build(quorum.Session{Server: s.Server, Client: s.Client, Challenge: s.Challenge, Counter: s.Counter})
	if err != nil {
		return nil, err
	}
	ask := func() ([]byte, error) { return quorum.Judge(ctx, w.Validators[index].Judge, m, s.Conn(), raw) }
	var out []byte
	if b != nil {
		out, err = b(ctx, m, raw, ask)
	} else {
		out, err = ask()
	}
	return out, quorum.Unwired(err)
}

// absent does not answer.
func absent(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
	return nil, errors.New("connection refused")
}

// hanging answers when nobody waits any more.
func hanging(ctx context.Context, _ quorum.Method, _ []byte, _ func() ([]byte, error)) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// denying denies whatever it is asked.
func denying(context.Context, quorum.Method, []byte, func() ([]byte, error)) ([]byte, error) {
	return nil, validator.ErrDenied
}

// inFirstRound behaves towards releases without dealings, and is honest after.
func inFirstRound(b behaviour) behaviour { return inRound(false, b) }

// inRound behaves in the round that asks for dealings, or in the one before.
func inRound(dealings bool, b behaviour) behaviour {
	return func(ctx context.Context, m quorum.Method, raw []byte, ask func() ([]byte, error)) ([]byte, error) {
		var r validator.ReleaseRequest
		if m == quorum.Release && statement.Unmarshal(raw, &r) == nil && r.Dealings != dealings {
			return ask()
		}
		return b(ctx, m, raw, ask)
	}
}

// tampering changes what is released; it can, because the answer's recipient is
// public and nothing else protects it from its sender.
func tampering(t testing.TB, to *vt.Person, change func(*validator.Release)) behaviour {
	return func(_ context.Context, _ quorum.Method, _ []byte, ask func() ([]byte, error)) ([]byte, error) {
		raw, err := ask()
		if err != nil {
			return nil, err
		}
		var reply validator.ReleaseReply
		var r validator.Release
		plain, err := []byte(nil), statement.Unmarshal(raw, &reply)
		if err == nil {
			plain, err = to.Opener.Open(reply.Box, validator.MaxRelease)
		}
		if err == nil {
			err = statement.Unmarshal(plain, &r)
		}
		if err != nil {
			return nil, err
		}
		change(&r)
		return seal(t, r, to.Recipients()...), nil
	}
}

func seal(t testing.TB, r validator.Release, to ...string) []byte {
	box, err := keystore.SealTo(to, encode(t, r))
	if err != nil {
		t.Error(err)
	}
	return encode(t, validator.ReleaseReply{Box: box})
}

func encode(t testing.TB, v any) []byte {
	raw, err := statement.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return raw
}

func principal(p *vt.Person) *home.Principal {
	return &home.Principal{Name: "test", Identity: p.Identity, Device: p.Device, Opener: p.Opener}
}

// shared is an object that all validators hold shares of.
func (w *world) shared(t testing.TB) *vt.Object {
	t.Helper()
	o := w.Object(t, w.alice)
	w.DepositAll(t, w.alice, o)
	return o
}

// verified checks a chain as a reader's node does before it asks.
func (w *world) verified(t testing.TB, c *capability.Chain) *capability.Verified {
	t.Helper()
	v, err := w.Validators[0].Verifier.VerifyPast(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// asks is Bob's request for objects under a chain.
func (w *world) asks(t testing.TB, c *capability.Chain, objects ...*vt.Object) quorum.Ask {
	t.Helper()
	a := quorum.Ask{Principal: principal(w.bob), Chain: w.verified(t, c)}
	for _, o := range objects {
		a.Objects = append(a.Objects, o.Address.Bytes())
	}
	return a
}

// wantFault checks a fault's exit code and its sentence; an empty one is any.
func wantFault(t *testing.T, err error, exit int, sentence string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want exit %d", exit)
		return
	}
	f := fault.Of(err)
	if f.Exit != exit || (sentence != "" && f.Message != sentence) {
		t.Errorf("exit %d %q; want exit %d %q", f.Exit, f.Message, exit, sentence)
	}
}

package policy_test

import (
	"errors"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	. "cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func open(t testing.TB, net *trusttest.Network, store kv.Store) *History {
	t.Helper()
	h, err := OpenHistory(store, trust.Fixed(net.Committee), Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func signBundle(t testing.TB, net *trusttest.Network, b *Bundle, validators ...int) []byte {
	t.Helper()
	return net.Sign(must(statement.New(KindBundle, b)), validators...).Bytes()
}

// named is a bundle whose one policy allows reading under an id.
func named(id string) *Bundle {
	b := Builtin()
	b.Policies = []Policy{{ID: id, Text: `permit (principal, action == Action::"read", resource);`}}
	return b
}

func judge(t testing.TB, h *History, at time.Time) string {
	t.Helper()
	e, err := h.InForce(at)
	if err != nil {
		t.Fatal(err)
	}
	d := e.Decide(Request{Principal: ann, PrincipalKind: "User", Action: "read", Consented: true, Now: at})
	if len(d.Policies) != 1 {
		t.Fatalf("%+v", d)
	}
	return d.Policies[0]
}

func TestHistoryJudgesByTime(t *testing.T) {
	net, store, start := trusttest.New(t, "net", 4), new(kv.Memory), trusttest.Start
	h := open(t, net, store)
	for i, id := range []string{"one", "two"} {
		b := h.Follow(named(id), start.Add(time.Duration(i+1)*time.Hour))
		raw := signBundle(t, net, b, net.Quorum()...)
		for range 2 { // again is no error
			if err := h.Add(raw); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, h := range map[string]*History{"as it was made": h, "opened again": open(t, net, store)} {
		for _, c := range []struct {
			at   time.Duration
			want string
		}{{2 * time.Hour, "two"}, {time.Hour - time.Second, "default"}, {time.Hour, "one"}, {2*time.Hour - time.Second, "one"}, {99 * time.Hour, "two"}} {
			if got := judge(t, h, start.Add(c.at)); got != c.want {
				t.Errorf("%s, after %v: %s judges, want %s", name, c.at, got, c.want)
			}
		}
		if h.Newest().Version != 2 || h.Newest().Policies[0].ID != "two" {
			t.Errorf("%s: %+v", name, h.Newest())
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	for name, c := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"control":                {func(*Bundle) {}, nil},
		"a version left out":     {func(b *Bundle) { b.Version = 2 }, ErrGap},
		"a huge version":         {func(b *Bundle) { b.Version = 1<<64 - 1 }, ErrGap},
		"version 0":              {func(b *Bundle) { b.Version = 0 }, ErrBundle},
		"another previous":       {func(b *Bundle) { b.Previous = ann }, ErrBundle},
		"an unknown record":      {func(b *Bundle) { b.Record = other.ID() }, ErrBundle},
		"before what it follows": {func(b *Bundle) { b.NotBefore = -1 }, ErrBundle},
		"another engine":         {func(b *Bundle) { b.Engine = "cedar-go/2.0" }, ErrBundle},
		"a broken policy":        {func(b *Bundle) { b.Policies[0].Text = "permit" }, ErrBundle},
	} {
		h := open(t, net, new(kv.Memory))
		b := h.Follow(named("one"), trusttest.Start)
		c.change(b)
		if err := h.Add(signBundle(t, net, b, 0, 1, 2)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != nil && (h.Newest().Version != 0 || judge(t, h, trusttest.Start) != "default") {
			t.Errorf("%s: it counts", name)
		}
	}
	h := open(t, net, new(kv.Memory))
	b := h.Follow(named("one"), trusttest.Start)
	for name, raw := range map[string][]byte{
		"two signatures": signBundle(t, net, b, 0, 1), "another network's": signBundle(t, other, b, 0, 1, 2), "none": signBundle(t, net, b), "nothing": nil, "too long": make([]byte, 1<<20+1),
	} {
		if err := h.Add(raw); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenHistory(new(kv.Memory), trust.Fixed(net.Committee), b); !errors.Is(err, ErrBundle) {
		t.Errorf("it begins with version 1: %v", err)
	}
}

func TestForkIsKept(t *testing.T) {
	net, store := trusttest.New(t, "net", 4), new(kv.Memory)
	h := open(t, net, store)
	one := signBundle(t, net, h.Follow(named("one"), trusttest.Start), 0, 1, 2)
	two := signBundle(t, net, h.Follow(named("two"), trusttest.Start), 1, 2, 3)
	weak := signBundle(t, net, h.Follow(named("weak"), trusttest.Start), 1, 2)
	if err := h.Add(one); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Add(two); !errors.Is(err, ErrFork) {
			t.Errorf("%v", err)
		}
	}
	if err := h.Add(weak); errors.Is(err, ErrFork) || err == nil {
		t.Errorf("two signatures make a fork: %v", err)
	}
	for _, h := range []*History{h, open(t, net, store)} {
		if judge(t, h, trusttest.Start) != "one" {
			t.Error("the second bundle is in force")
		}
		forks, err := h.Forks()
		if err != nil || len(forks) != 1 || forks[0].Version != 1 || string(forks[0].Ours) != string(one) || string(forks[0].Other) != string(two) {
			t.Errorf("%v %+v", err, forks)
		}
	}
	for i := range 20 {
		raw := signBundle(t, net, open(t, net, new(kv.Memory)).Follow(named("n"+string(rune('a'+i))), trusttest.Start), 1, 2, 3)
		if err := h.Add(raw); !errors.Is(err, ErrFork) {
			t.Fatal(err)
		}
	}
	if forks, err := h.Forks(); err != nil || len(forks) != 16 {
		t.Errorf("%d forks are kept: %v", len(forks), err)
	}
}

func TestProposalsAreSignedSideBySide(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	h := open(t, net, new(kv.Memory))
	raw, err := Propose(h.Follow(named("one"), trusttest.Start))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Add(raw); err == nil {
		t.Fatal("an unsigned proposal counts")
	}
	sign := func(raw []byte, i int) []byte {
		return must(must(ReadProposal(raw, net.Committee)).Sign(net.Signing[i], h))
	}
	bad := must(statement.Parse(raw))
	bad.AddSignature(2, other.Signing[2]) // stands in the right one's place
	merged, err := MergeProposals(sign(sign(raw, 0), 1), bad.Bytes(), net.Committee)
	if err != nil {
		t.Fatal(err)
	}
	if by, of := must(ReadProposal(merged, net.Committee)).Signed(); len(by) != 2 || of != 3 {
		t.Errorf("%v of %d", by, of)
	}
	if merged, err = MergeProposals(merged, sign(bad.Bytes(), 2), net.Committee); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(merged); err != nil {
		t.Fatal(err)
	}
	p := must(ReadProposal(raw, net.Committee))
	if _, err := p.Sign(net.Signing[0], h); !errors.Is(err, ErrGap) {
		t.Errorf("a version is signed twice: %v", err)
	}
	if _, err := p.Sign(other.Signing[0], h); !errors.Is(err, ErrBundle) {
		t.Errorf("a stranger signs: %v", err)
	}
	if _, err := ReadProposal(raw, other.Committee); !errors.Is(err, ErrBundle) {
		t.Errorf("another committee: %v", err)
	}
	two := must(Propose(h.Follow(named("two"), trusttest.Start)))
	if _, err := MergeProposals(raw, two, net.Committee); !errors.Is(err, ErrBundle) {
		t.Errorf("two proposals are merged: %v", err)
	}
	if _, err := Propose(named("one")); !errors.Is(err, ErrBundle) {
		t.Errorf("version 0 is proposed: %v", err)
	}
}

func FuzzVerifyBundle(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	h := open(f, net, new(kv.Memory))
	chain := trust.Fixed(net.Committee)
	f.Add(signBundle(f, net, h.Follow(named("one"), trusttest.Start), 0, 1, 2))
	f.Add(signBundle(f, net, Builtin(), 0, 1, 2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := VerifyBundle(raw, chain)
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Errorf("not an ErrBundle: %v", err)
			}
			return
		}
		if must(statement.Parse(raw)).ID() != b.Head() {
			t.Error("the head is not the statement's id")
		}
	})
}

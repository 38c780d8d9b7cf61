package revocation

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// holdOf is an unsigned hold on a thing of an owner.
func holdOf(net *trusttest.Network, owner *trusttest.Person, on HoldOn, ref byte) Hold {
	return Hold{
		Network: net.Network(), Record: net.ID(), Owner: owner.ID(), On: on, Ref: envelope.Nonce{ref}, Placed: true, Officer: net.People[0].ID(), Time: 1,
	}
}

// signHold has validators sign it, whether or not it deserves that.
func signHold(t testing.TB, net *trusttest.Network, h Hold, by ...int) (Entry, statement.ID) {
	t.Helper()
	s, err := statement.New(KindHold, h)
	if err != nil {
		t.Fatal(err)
	}
	return Entry{Statement: net.Sign(s, by...).Bytes()}, s.ID()
}

func TestAHoldIsOfKValidators(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	owner := trusttest.NewPerson(t, "owner", identity.User)
	chain := trust.Fixed(net.Committee)
	quorum := net.Quorum()
	for _, c := range []struct {
		name, rule string
		change     func(h *Hold)
		by         []int
		with       []byte
	}{
		{"control", "", nil, quorum, nil},
		{"any quorum", "", nil, []int{1, 2, 3}, nil},
		{"too few", "signatures do not", nil, quorum[1:], nil},
		{"nobody", "signatures do not", nil, nil, nil},
		{"another network's", "another network", func(h *Hold) { h.Network = other.Network() }, quorum, nil},
		{"an unknown record's", "not known", func(h *Hold) { h.Record = other.ID() }, quorum, nil},
		{"with an identity beside it", "comes with an identity", nil, quorum, owner.Record()},
		{"on nothing", "on a key", func(h *Hold) { h.On = 0 }, quorum, nil},
		{"on something else", "on a key", func(h *Hold) { h.On = HoldScope + 1 }, quorum, nil},
		{"on nobody's", "names the owner", func(h *Hold) { h.Owner = statement.ID{} }, quorum, nil},
		{"by no officer", "names the owner", func(h *Hold) { h.Officer = statement.ID{} }, quorum, nil},
		{"that also ends one", "a hold ends none", func(h *Hold) { h.Ends = make([]byte, 32) }, quorum, nil},
		{"that ends none", "names the hold", func(h *Hold) { h.Placed = false }, quorum, nil},
		{"that ends half a one", "names the hold", func(h *Hold) { h.Placed, h.Ends = false, make([]byte, 16) }, quorum, nil},
		{"a release", "", func(h *Hold) { h.Placed, h.Ends = false, make([]byte, 32) }, quorum, nil},
	} {
		h := holdOf(net, owner, HoldKey, 1)
		if c.change != nil {
			c.change(&h)
		}
		e, _ := signHold(t, net, h, c.by...)
		e.Identity = c.with
		_, _, err := e.VerifyHold(chain)
		if c.rule == "" && err != nil || c.rule != "" && (!errors.Is(err, ErrEntry) || !strings.Contains(err.Error(), c.rule)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
		}
		set := openSet(t, new(kv.Memory), net)
		if _, err := set.Add(e); (err == nil) != (c.rule == "") || set.Held(h.Target()) != (c.rule == "" && h.Placed) {
			t.Errorf("%s: in a set: %v", c.name, err)
		}
	}
	byOthers, _ := signHold(t, other, holdOf(net, owner, HoldKey, 1), quorum...)
	if _, _, err := byOthers.VerifyHold(chain); !errors.Is(err, ErrEntry) {
		t.Errorf("signed by another network's validators: %v", err)
	}
	if _, err := DraftHold(Hold{}); err == nil {
		t.Error("an empty hold is drafted")
	}
	if s, err := DraftHold(holdOf(net, owner, HoldKey, 1)); err != nil || !s.Is(KindHold) {
		t.Errorf("control: %v", err)
	}
}

// A hold stops the erasure of what it is on, and of nothing else; its release
// ends it, once and for ever, and no other one.
func TestWhatAHoldIsOn(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	owner, other := trusttest.NewPerson(t, "owner", identity.User), trusttest.NewPerson(t, "other", identity.User)
	store := new(kv.Memory)
	set := openSet(t, store, net)
	add := func(h Hold) statement.ID {
		e, id := signHold(t, net, h, net.Quorum()...)
		if _, err := set.Add(e); err != nil {
			t.Fatal(err)
		}
		return id
	}
	h := holdOf(net, owner, HoldLineage, 1)
	first := add(h)
	lineage := envelope.LineageID(net.Network(), owner.ID(), envelope.Nonce{1})
	for name, id := range map[string]statement.ID{
		"the key of that nonce":   envelope.KeyID(net.Network(), owner.ID(), envelope.Nonce{1}),
		"the scope of that nonce": envelope.ScopeID(net.Network(), owner.ID(), envelope.Nonce{1}),
		"another lineage":         envelope.LineageID(net.Network(), owner.ID(), envelope.Nonce{2}),
		"another owner's":         envelope.LineageID(net.Network(), other.ID(), envelope.Nonce{1}),
	} {
		if set.Held(id) {
			t.Errorf("%s is held", name)
		}
	}
	again := h
	again.Nonce[0]++
	second := add(again)
	wrong := h.Release(first)
	wrong.Record, wrong.Officer, wrong.On = net.ID(), h.Officer, HoldKey // names it from elsewhere
	add(wrong)
	if got := set.Holds(lineage); len(got) != 2 || !set.Held(statement.ID{}, lineage) {
		t.Fatalf("%d holds", len(got))
	}
	release := h.Release(first)
	release.Record, release.Officer = net.ID(), h.Officer
	add(release)
	if got := set.Holds(lineage); len(got) != 1 || got[0].ID != second {
		t.Errorf("one of two was released: %d left", len(got))
	}
	add(h) // the first again
	release = again.Release(second)
	release.Record, release.Officer = net.ID(), h.Officer
	add(release)
	for _, s := range []*Set{set, openSet(t, store, net)} {
		if s.Held(lineage) {
			t.Error("a hold that was released is in force")
		}
	}
	again.Nonce[0]++
	if add(again); !set.Held(lineage) {
		t.Error("control: a new hold is not in force")
	}
}

// Thieves of K keys place and release holds; the recovery that voids their record
// voids both, at once and over a restart, and logs that hold them do no harm.
func TestARecoveryVoidsHolds(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	owner := trusttest.NewPerson(t, "owner", identity.User)
	chain := trust.Fixed(net.Committee)
	store := new(kv.Memory)
	set, err := OpenSet(store, chain, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := openLog(t, store, set)
	h := holdOf(net, owner, HoldKey, 1)
	e, _ := signHold(t, net, h, net.Quorum()...)
	appended := entry(t, net, owner, "x")
	if _, err := log.Append(e, appended); err != nil || !set.Held(h.Target()) {
		t.Fatal("control:", err)
	}
	before := set.Changes()
	if _, err := chain.Add(net.Recover(t, nil).Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := set.Recheck(); err != nil || set.Changes() == before {
		t.Errorf("who watches the set is not told: %v", err)
	}
	again, err := OpenSet(store, chain, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Set{set, again} {
		if s.Held(h.Target()) || len(s.Revokers(target("x"))) != 1 {
			t.Error("a hold of a voided record is in force, or a revocation was lost with it")
		}
	}
	if l := openLog(t, store, again); l.Head() != log.Head() {
		t.Error("the log does not open as it was")
	}
	late := openSet(t, new(kv.Memory), net)
	late.chain = chain
	if _, err := late.Add(e); !errors.Is(err, trust.ErrRetired) {
		t.Errorf("it is taken as new: %v", err)
	}
	tail, err := log.Tail(0, 0)
	if err != nil || len(tail) != 2 {
		t.Fatal(len(tail), err)
	}
	if err := late.Heard(net.Validators[1].Signing, tail); err != nil || late.Held(h.Target()) || len(late.Revokers(target("x"))) != 1 {
		t.Errorf("a log that holds it: %v", err)
	}
}

// A statement of a record that is not on the line waits; if the record comes to
// count, so does the statement. A forgery with the same id does not take its
// place, and is never more than a place.
func TestAStatementWaitsForItsRecord(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	owner := trusttest.NewPerson(t, "owner", identity.User)
	chain := trust.Fixed(net.Committee)
	next := net.Succeed(t, nil)
	h := holdOf(net, owner, HoldKey, 1)
	h.Record = next.ID()
	e, id := signHold(t, net, h, net.Quorum()...)
	forged, same := signHold(t, trusttest.New(t, "thieves", 4), h, 0, 1, 2)
	if id != same {
		t.Fatal("control: the forgery is another statement")
	}
	store := new(kv.Memory)
	set, err := OpenSet(store, chain, nil)
	if err != nil {
		t.Fatal(err)
	}
	liar := net.Validators[3].Signing
	for range 2 {
		if err := set.Heard(liar, []Entry{forged, e}); err != nil {
			t.Fatal(err)
		}
	}
	if set.Held(h.Target()) || set.Unvouched(liar) != 2 {
		t.Errorf("held, or %d statements are unvouched", set.Unvouched(liar))
	}
	if _, err := chain.Add(next.Bytes()); err != nil {
		t.Fatal(err)
	}
	again, err := OpenSet(store, chain, nil) // opened late
	if err != nil || !again.Held(h.Target()) || again.Unvouched(liar) != 0 {
		t.Errorf("opened again: %v", err)
	}
	if err := set.Recheck(); err != nil || !set.Held(h.Target()) {
		t.Errorf("it does not count: %v", err)
	}
	if n := set.Unvouched(liar); n != 0 {
		t.Errorf("%d statements are unvouched: K validators stand for one, the other is forged", n)
	}
}

// Whatever the order in which statements come, two parties that know the same
// ones answer the same.
func TestSetsOfOneContentAgree(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	a, b := trusttest.NewPerson(t, "a", identity.User), trusttest.NewPerson(t, "b", identity.User)
	var entries []Entry
	for _, name := range []string{"x", "y"} {
		entries = append(entries, entry(t, net, a, name), entry(t, net, b, name))
	}
	entries = append(entries, erasure(t, net, a, 1, 2), erasure(t, net, a, 2), erasure(t, net, b, 1))
	var holds []Hold
	for i := range 3 {
		h := holdOf(net, a, HoldKey, byte(1+i%2))
		h.Nonce[0] = byte(i)
		e, id := signHold(t, net, h, net.Quorum()...)
		release := h.Release(id)
		release.Record, release.Officer = net.ID(), h.Officer
		r, _ := signHold(t, net, release, net.Quorum()...)
		holds, entries = append(holds, h), append(entries, e)
		if i > 0 {
			entries = append(entries, r)
		}
	}
	answers := func(s *Set) (out []statement.ID) {
		for _, name := range []string{"x", "y", "z"} {
			by := slices.Clone(s.Revokers(target(name)))
			slices.SortFunc(by, func(p, q statement.ID) int { return strings.Compare(p.String(), q.String()) })
			out = append(out, by...)
		}
		for _, h := range holds {
			for _, f := range slices.Concat(s.Holds(h.Target()), s.Facts(KindErasure, h.Target()), s.Facts(KindHold, h.Target())) {
				out = append(out, f.ID)
			}
		}
		return out
	}
	var want []statement.ID
	for i := range 30 {
		store := new(kv.Memory)
		set := openSet(t, store, net)
		for _, e := range entries {
			if i%2 == 0 {
				if err := set.Take([]Entry{e}); err != nil {
					t.Fatal(err)
				}
			} else if err := set.Heard(net.Validators[i%4].Signing, []Entry{e, e}); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			want = answers(set)
			if len(want) < 15 {
				t.Fatalf("control: %d answers", len(want))
			}
			if !set.Held(holds[0].Target()) || set.Held(holds[1].Target()) {
				t.Error("control: the holds in force are others")
			}
		}
		if got := answers(set); !slices.Equal(got, want) {
			t.Errorf("in another order: %v, want %v", got, want)
		}
		if got := answers(openSet(t, store, net)); !slices.Equal(got, want) {
			t.Errorf("opened again: %v, want %v", got, want)
		}
		rand.Shuffle(len(entries), func(p, q int) { entries[p], entries[q] = entries[q], entries[p] })
	}
}

// A network may replicate more kinds; a set knows those it was opened with and
// no others.
func TestPluggedKinds(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	type badge struct {
		_    struct{} `cbor:",toarray"`
		Whom statement.ID
	}
	const kind statement.Kind = "badge"
	verify := func(e Entry, chain *trust.Chain) (*Fact, error) {
		s, err := statement.Parse(e.Statement)
		if err != nil {
			return nil, err
		}
		var b badge
		if err := s.Peek(kind, &b); err != nil {
			return nil, err
		}
		if err := chain.Current().VerifyK(kind, s); err != nil {
			return nil, err
		}
		return &Fact{Kind: kind, ID: s.ID(), Subjects: []statement.ID{b.Whom}, Record: chain.Current().ID(), Body: &b}, nil
	}
	s, err := statement.New(kind, badge{Whom: target("whom")})
	if err != nil {
		t.Fatal(err)
	}
	unsigned := Entry{Statement: s.Bytes()}
	e := Entry{Statement: net.Sign(s, 0).Bytes()}
	store := new(kv.Memory)
	open := func(k Kinds) (*Set, error) { return OpenSet(store, trust.Fixed(net.Committee), k) }
	plain, err := open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Add(e); !errors.Is(err, ErrEntry) || !strings.Contains(err.Error(), "no such kind") {
		t.Errorf("a kind that nobody knows: %v", err)
	}
	set, err := open(Kinds{kind: verify})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Add(unsigned); !errors.Is(err, ErrEntry) || !errors.Is(err, statement.ErrSignature) {
		t.Errorf("what its verifier refuses: %v", err)
	}
	if n, err := set.Add(e, e); err != nil || n != 1 || len(set.Facts(kind, target("whom"))) != 1 {
		t.Errorf("control: %d, %v", n, err)
	}
	if again, err := open(Kinds{kind: verify}); err != nil || len(again.Facts(kind, target("whom"))) != 1 {
		t.Errorf("opened again: %v", err)
	}
	if _, err := open(nil); !errors.Is(err, ErrEntry) {
		t.Errorf("a set with a statement of an unknown kind opens: %v", err)
	}
	confused, err := OpenSet(new(kv.Memory), trust.Fixed(net.Committee), Kinds{kind: func(Entry, *trust.Chain) (*Fact, error) {
		return &Fact{Kind: kind, ID: target("another")}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := confused.Add(e); !errors.Is(err, ErrEntry) {
		t.Errorf("a verifier that speaks of another statement: %v", err)
	}
}

// Records of an identity travel with the document in which they count.
func TestIdentityRecordsTravel(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	owner, thief := trusttest.NewPerson(t, "owner", identity.User), trusttest.NewPerson(t, "thief", identity.User)
	phone := trusttest.Key("phone")
	request, err := identity.Enrol(owner.ID(), phone, trusttest.Recipient("phone"))
	if err != nil {
		t.Fatal(err)
	}
	record, err := owner.AddDevice(owner.Devices[0], request, trusttest.Start)
	if err != nil {
		t.Fatal(err)
	}
	after, err := owner.With(record)
	if err != nil {
		t.Fatal(err)
	}
	e, err := IdentityEntry(record, after)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := IdentityEntry(record, owner.Identity); err == nil {
		t.Error("an entry is made of a document without the record")
	}
	store := new(kv.Memory)
	set := openSet(t, store, net)
	for name, bad := range map[string]Entry{
		"without the document":        {Statement: e.Statement},
		"with a document without it":  {Statement: e.Statement, Identity: owner.Record()},
		"with a stranger's document":  {Statement: e.Statement, Identity: thief.Record()},
		"a document in its own place": {Statement: e.Identity, Identity: e.Identity},
	} {
		if _, err := set.Add(bad); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := set.Add(e); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Set{set, openSet(t, store, net)} {
		folded, err := owner.With(s.IdentityRecords(owner.ID())...)
		if err != nil || !slices.Contains(folded.Devices(), phone.Public()) {
			t.Errorf("the phone does not speak for its owner: %v", err)
		}
		if n := len(s.IdentityRecords(thief.ID())); n != 0 {
			t.Errorf("%d records of another identity", n)
		}
	}
}

package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestAnEntryIsItsSigners(t *testing.T) {
	net, other := trusttest.New(t, "net", 1), trusttest.New(t, "other", 1)
	owner, thief := trusttest.WithDevices(t, "owner", identity.User, 2), trusttest.NewPerson(t, "thief", identity.User)
	body := Revocation{Network: net.Network(), Target: target("x"), Signer: owner.ID(), Reason: "lost"}
	for _, c := range []struct {
		name, rule string
		change     func(r *Revocation, e *Entry, by *trusttest.Person)
	}{
		{"control", "", func(*Revocation, *Entry, *trusttest.Person) {}},
		{"the longest reason", "", func(r *Revocation, _ *Entry, _ *trusttest.Person) { r.Reason = strings.Repeat("x", 256) }},
		{"a longer reason", "reason is too long", func(r *Revocation, _ *Entry, _ *trusttest.Person) { r.Reason = strings.Repeat("x", 257) }},
		{"another network's", "another network", func(r *Revocation, _ *Entry, _ *trusttest.Person) { r.Network = other.Network() }},
		{"in another's name", "another identity's record", func(r *Revocation, _ *Entry, _ *trusttest.Person) { r.Signer = thief.ID() }},
		{"with another's record", "another identity's record", func(_ *Revocation, e *Entry, _ *trusttest.Person) { e.Identity = thief.Record() }},
		{"signed by another", "signatures do not verify", func(_ *Revocation, _ *Entry, by *trusttest.Person) { by.Devices = thief.Devices }},
		{"signed by the other device", "", func(_ *Revocation, _ *Entry, by *trusttest.Person) { by.Devices = by.Devices[1:] }},
		{"without a record", "identity record", func(_ *Revocation, e *Entry, _ *trusttest.Person) { e.Identity = nil }},
	} {
		r, by, e := body, *owner, Entry{Identity: owner.Record()}
		c.change(&r, &e, &by)
		e.Statement = by.Sign(t, KindRevocation, r).Bytes()
		got, err := e.Verify(net.Network())
		switch {
		case c.rule == "" && (err != nil || *got != r):
			t.Errorf("%s: %v", c.name, err)
		case c.rule != "" && (!errors.Is(err, ErrEntry) || !strings.Contains(err.Error(), c.rule)):
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
		}
	}
	bare, err := statement.New(KindRevocation, body)
	if err != nil {
		t.Fatal(err)
	}
	misplaced, err := statement.New(KindRevocation, body)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := owner.DeviceIndex(owner.Devices[0].Public())
	misplaced.AddSignature(first, owner.Devices[1])
	for name, e := range map[string]Entry{
		"one signed by a device in another's place": {Statement: misplaced.Bytes(), Identity: owner.Record()},
		"nothing":         {},
		"junk":            {Statement: []byte("junk"), Identity: owner.Record()},
		"another kind":    {Statement: owner.Sign(t, "grant", body).Bytes(), Identity: owner.Record()},
		"over 36 KiB":     {Statement: make([]byte, MaxEntry), Identity: []byte{1}},
		"an unsigned one": {Statement: bare.Bytes(), Identity: owner.Record()},
	} {
		if _, err := e.Verify(net.Network()); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := Entry{Statement: make([]byte, MaxEntry), Identity: []byte{1}} // found before anything is decoded
	if _, err := long.Verify(net.Network()); err == nil || !strings.HasSuffix(err.Error(), "it is too long") {
		t.Errorf("over 36 KiB: %v", err)
	}
	if _, err := Sign(body, owner.Identity, thief.Devices[0]); err == nil {
		t.Error("a device signs for an identity that is not its own")
	}
	for i, d := range owner.Devices {
		r := body
		r.Signer = thief.ID() // Sign knows better
		e, err := Sign(r, owner.Identity, d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Verify(net.Network()); err != nil || got.Signer != owner.ID() {
			t.Errorf("device %d: %v", i, err)
		}
	}
}

// Whoever may be granted something may revoke it: the largest identity record
// fits into an entry.
func TestTheLargestIdentityRevokes(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	p := &trusttest.Person{}
	body := identity.Inception{Kind: identity.User}
	for i := range identity.MaxDevices {
		k := trusttest.Key(fmt.Sprint("device ", i))
		p.Devices, body.Devices = append(p.Devices, k), append(body.Devices, k.Public())
	}
	for i := 0; ; i++ {
		body.Recipients = append(body.Recipients, trusttest.Recipient(fmt.Sprint(i)))
		s, err := statement.Sign(identity.KindInception, body, p.Devices...)
		if err != nil {
			t.Fatal(err)
		}
		id, err := identity.New(s.Bytes())
		if err != nil {
			break // one more than fits
		}
		p.Identity = id
	}
	e, err := Sign(Revocation{Network: net.Network(), Reason: strings.Repeat("x", maxReason)}, p.Identity, p.Devices[15])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Verify(net.Network()); err != nil {
		t.Errorf("an identity of %d bytes revokes nothing: %v", len(p.Record()), err)
	}
	if n := len(p.Record()); n < 8<<10 {
		t.Errorf("control: the largest identity has %d bytes only", n)
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := statement.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestASetRemembers(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a, b := trusttest.NewPerson(t, "a", identity.User), trusttest.NewPerson(t, "b", identity.User)
	store := new(kv.Memory)
	s := openSet(t, store, net)
	if got := s.Revokers(target("x")); len(got) != 0 || s.Changes() != 0 {
		t.Error("an empty set knows something")
	}
	for _, c := range []struct {
		name    string
		entries []Entry
		added   int
		changes uint64
	}{
		{"one", []Entry{entry(t, net, a, "x")}, 1, 1},
		{"the same again", []Entry{entry(t, net, a, "x")}, 0, 1},
		{"another signer's", []Entry{entry(t, net, b, "x")}, 1, 2},
		{"another target, twice at once", []Entry{entry(t, net, a, "y"), entry(t, net, a, "y")}, 1, 3},
		{"known and new", []Entry{entry(t, net, a, "x"), entry(t, net, b, "y")}, 1, 4},
		{"nothing", nil, 0, 4},
	} {
		if n, err := s.Add(c.entries...); err != nil || n != c.added || s.Changes() != c.changes {
			t.Errorf("%s: %d added, %d changes, %v", c.name, n, s.Changes(), err)
		}
	}
	for _, set := range []*Set{s, openSet(t, store, net)} {
		if got := set.Revokers(target("x")); !slices.Contains(got, a.ID()) || !slices.Contains(got, b.ID()) || len(got) != 2 {
			t.Errorf("x was revoked by %v", got)
		}
		if got := set.Revokers(target("y")); len(got) != 2 {
			t.Errorf("y was revoked by %v", got)
		}
		if got := set.Revokers(target("z")); len(got) != 0 {
			t.Errorf("z was revoked by %v", got)
		}
	}
}

// Another wording of a known revocation is no news.
func TestOneSignerRevokesATargetOnce(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.WithDevices(t, "a", identity.User, 2)
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	appendTo(t, l, net, a, "x")
	again, err := Sign(Revocation{Network: net.Network(), Target: target("x"), Reason: "other words", Time: 99}, a.Identity, a.Devices[1])
	if err != nil {
		t.Fatal(err)
	}
	if at, err := l.Append(again); err != nil || at.Seq != 1 || len(l.set.Revokers(target("x"))) != 1 {
		t.Errorf("at %v, %v", at, err)
	}
}

// A batch with one bad entry is refused whole, and leaves no trace.
func TestABadEntryFailsItsBatch(t *testing.T) {
	net, other := trusttest.New(t, "net", 1), trusttest.New(t, "other", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	store := new(kv.Memory)
	set := openSet(t, store, net)
	l := openLog(t, store, set)
	bad := []Entry{entry(t, net, a, "x"), entry(t, other, a, "y")}
	for name, add := range map[string]func(...Entry) error{
		"set": func(e ...Entry) error { _, err := set.Add(e...); return err }, "set's sink": func(e ...Entry) error { return set.Take(e) },
		"log": func(e ...Entry) error { _, err := l.Append(e...); return err }, "log's sink": func(e ...Entry) error { return l.Take(e) },
	} {
		if err := add(bad...); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.Head() != (Position{}) || set.Changes() != 0 || len(set.Revokers(target("x"))) != 0 {
		t.Error("a refused batch left something")
	}
	if openSet(t, store, net).Changes() != 0 {
		t.Error("a refused batch was stored")
	}
	if err := l.Take(bad[:1]); err != nil || len(set.Revokers(target("x"))) != 1 {
		t.Errorf("control: its good part: %v", err)
	}
}

// What was not written is not known: neither to verifiers nor in the signed head.
func TestAFailedWriteIsNotAcknowledged(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	store := new(broken)
	set := openSet(t, store, net)
	l := openLog(t, store, set)
	appendTo(t, l, net, a, "x")
	at := l.Head()
	store.set(true)
	if _, err := l.Append(entry(t, net, a, "y")); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if _, err := set.Add(entry(t, net, a, "z")); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if l.Head() != at || set.Changes() != 1 || len(set.Revokers(target("y")))+len(set.Revokers(target("z"))) != 0 {
		t.Error("what was not written is known")
	}
	if _, err := l.Append(entry(t, net, a, "x")); err != nil {
		t.Errorf("what is known needs no write: %v", err)
	}
	if _, err := set.Add(entry(t, net, a, "x")); err != nil {
		t.Errorf("what is known needs no write: %v", err)
	}
	store.set(false)
	appendTo(t, l, net, a, "y")
	if got := openLog(t, store, openSet(t, store, net)); got.Head().Seq != 2 || got.Head() != l.Head() {
		t.Error("control: after the repair the log goes on")
	}
}

func TestALogIsAChain(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	var head statement.ID
	for i, name := range []string{"x", "y", "z"} {
		e := entry(t, net, a, name)
		raw, err := statement.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		head = statement.Hash("revocation log", head[:], raw) // the specification, in the package comment
		if at, err := l.Append(e); err != nil || at != (Position{Seq: uint64(i) + 1, Head: head}) {
			t.Fatalf("entry %d: at %v, %v; want %s", i+1, at, err, head)
		}
	}
	if at, err := l.Append(entry(t, net, a, "y"), entry(t, net, a, "x")); err != nil || at.Seq != 3 || at.Head != head {
		t.Errorf("known entries move the head to %v, %v", at, err)
	}
	again := openLog(t, store, openSet(t, store, net))
	if at := again.Head(); at.Seq != 3 || at.Head != head {
		t.Errorf("opened again it stands at %v", at)
	}
	disk := new(kv.Memory)
	one := openLog(t, disk, openSet(t, disk, net))
	if err := one.Take([]Entry{entry(t, net, a, "x"), entry(t, net, a, "x"), entry(t, net, a, "y"), entry(t, net, a, "z")}); err != nil {
		t.Fatal(err)
	}
	if at := one.Head(); at.Seq != 3 || at.Head != head {
		t.Errorf("the same in one step, with one twice, leads to %v", at)
	}
}

func TestTails(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	const n = MaxTail + 57 // past 256, where the order of keys would show little-endian numbers
	var batch []Entry
	for i := range n {
		batch = append(batch, entry(t, net, a, fmt.Sprint(i)))
	}
	if err := l.Take(batch); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]int{0: MaxTail, 1: MaxTail, 57: MaxTail, 58: MaxTail - 1, n - 1: 1, n: 0, n + 1: 0, 1 << 63: 0} {
		got, err := l.Tail(0, seq)
		if err != nil || len(got) != want {
			t.Errorf("after %d: %d entries, %v", seq, len(got), err)
		}
		for i, e := range got {
			if !bytes.Equal(e.bytes(), batch[int(seq)+i].bytes()) {
				t.Fatalf("after %d: entry %d is another", seq, i)
			}
		}
	}
}

// A log that rots while it is open shows no tail rather than a wrong one.
func TestATailThatRotted(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	appendTo(t, l, net, trusttest.NewPerson(t, "a", identity.User), "x")
	if err := store.Apply([]kv.Op{{Key: logKey(0, 1), Value: []byte("junk")}}); err != nil {
		t.Fatal(err)
	}
	if e, err := l.Tail(0, 0); err == nil || !strings.Contains(err.Error(), "not in the set") {
		t.Errorf("%d entries, %v", len(e), err)
	}
}

// Bit rot: a store in which one bit has changed does not open, or opens as it was.
func TestEveryStoredBitCounts(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a := trusttest.NewPerson(t, "a", identity.User)
	store := new(kv.Memory)
	l := openLog(t, store, openSet(t, store, net))
	appendTo(t, l, net, a, "x", "y")
	open := func(s kv.Store) error {
		set, err := OpenSet(s, trust.Fixed(net.Committee), nil)
		if err != nil {
			return err
		}
		_, err = OpenLog(s, set, net.Validators[0].Signing)
		return err
	}
	if err := open(store); err != nil {
		t.Fatal("control:", err)
	}
	flipped := 0
	err := store.Scan(nil, nil, func(key, value []byte) (bool, error) {
		key, value = bytes.Clone(key), bytes.Clone(value)
		for i := 0; i < len(value); i += 1 + len(value)/200 {
			value[i] ^= 4
			if err := store.Apply([]kv.Op{{Key: key, Value: value}}); err != nil {
				return false, err
			}
			if open(store) == nil {
				t.Errorf("%q opens with byte %d changed", key[:4], i)
			}
			value[i] ^= 4
			flipped++
		}
		return true, store.Apply([]kv.Op{{Key: key, Value: value}})
	})
	if err != nil || flipped < 300 {
		t.Fatal(flipped, err)
	}
	if err := open(store); err != nil {
		t.Fatal("control, restored:", err)
	}
}

// Entries that were removed, moved or put in from elsewhere are noticed when the
// store is opened.
func TestStoresThatWereTamperedWith(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a, b := trusttest.NewPerson(t, "a", identity.User), trusttest.NewPerson(t, "b", identity.User)
	x, y := entry(t, net, a, "x"), entry(t, net, a, "y")
	key := func(e Entry) []byte {
		f, err := revocationFact(e, trust.Fixed(net.Committee))
		if err != nil {
			t.Fatal(err)
		}
		return append(slices.Clone(setPrefix), f.slot()...)
	}
	for _, c := range []struct {
		name, rule string
		ops        []kv.Op
	}{
		{"control", "", nil},
		{"the last entry of the log is gone", "an entry is missing", []kv.Op{{Key: logKey(0, 2), Delete: true}}},
		{"the position is gone", "an entry is missing", []kv.Op{{Key: stateKey, Delete: true}}},
		{"the position is none", "is none", []kv.Op{{Key: stateKey, Value: mustMarshal(t, state{At: Position{Segment: 1}})}}},
		{"the first entry of the log is gone", "an entry is missing", []kv.Op{{Key: logKey(0, 1), Delete: true}}},
		{"an entry of the set is gone", "not in the set", []kv.Op{{Key: key(x), Delete: true}}},
		{"an entry stands in another's place", "another's place", []kv.Op{{Key: key(x), Value: y.bytes()}}},
		{"a stranger's entry is in the log", "not in the set", []kv.Op{{Key: logKey(0, 3), Value: key(entry(t, net, b, "x"))[len(setPrefix):]}}},
		{"junk is in the log", "not in the set", []kv.Op{{Key: logKey(0, 3), Value: []byte("junk")}}},
		{"junk is in the set", "malformed", []kv.Op{{Key: []byte("set/junk"), Value: []byte("junk")}}},
		{"another network's entry is in the set", "does not verify", []kv.Op{{
			Key: key(x), Value: entry(t, trusttest.New(t, "other", 1), a, "x").bytes(),
		}}},
	} {
		store := new(kv.Memory)
		l := openLog(t, store, openSet(t, store, net))
		appendTo(t, l, net, a, "x", "y")
		if err := store.Apply(c.ops); err != nil {
			t.Fatal(err)
		}
		set, err := OpenSet(store, trust.Fixed(net.Committee), nil)
		if err == nil {
			_, err = OpenLog(store, set, net.Validators[0].Signing)
		}
		if c.rule == "" && err != nil || c.rule != "" && (err == nil || !strings.Contains(err.Error(), c.rule)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.rule)
		}
	}
}

// Many append, ask and read at once; the chain has each entry once, and whoever
// holds a list of revokers is not disturbed.
func TestALogServesManyAtOnce(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	a, b := trusttest.NewPerson(t, "a", identity.User), trusttest.NewPerson(t, "b", identity.User)
	store := new(kv.Memory)
	set := openSet(t, store, net)
	l := openLog(t, store, set)
	var entries []Entry
	for i := range 10 {
		entries = append(entries, entry(t, net, a, fmt.Sprint(i)), entry(t, net, b, fmt.Sprint(i)))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range entries {
				if _, err := l.Append(entries[i], entries[(i+7)%len(entries)]); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i := range 40 {
				mine := append(set.Revokers(target(fmt.Sprint(i%10))), statement.ID{1}) // must not write into the set's
				if len(mine) > 3 {
					t.Error("a target has more revokers than people")
				}
				if _, err := l.Tail(0, uint64(i)); err != nil {
					t.Error(err)
				}
				l.Head()
				set.Changes()
			}
		})
	}
	wg.Wait()
	if at := l.Head(); at.Seq != 20 || set.Changes() != 20 {
		t.Errorf("%d entries, %d changes", at.Seq, set.Changes())
	} else if again := openLog(t, store, openSet(t, store, net)); again.Head() != at {
		t.Error("the stored chain is another")
	}
	for i := range 10 {
		if got := set.Revokers(target(fmt.Sprint(i))); len(got) != 2 || slices.Contains(got, statement.ID{1}) {
			t.Errorf("%d was revoked by %v", i, got)
		}
	}
}

package identity

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

var now = time.Unix(1_800_000_000, 0)

// made fails a test where a record or an identity could not be made.
func made[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func public(t testing.TB, seeds ...byte) (out []statement.PublicKey) {
	for _, s := range seeds {
		out = append(out, key(t, s).Public())
	}
	return out
}

func to(seed byte) string { return fmt.Sprintf("%s%d", recipient, seed) }

// me is an identity of device 1, whose recipient goes with it, and recovery key 99.
func me(t testing.TB) *Identity {
	t.Helper()
	return made(Incept(User, key(t, 1), to(1), key(t, 99).Public(), [16]byte{7}))(t)
}

func added(t testing.TB, i *Identity, by, device byte) *Record {
	t.Helper()
	e := made(Enrol(i.ID(), key(t, device), to(device)))(t)
	return made(i.AddDevice(key(t, by), e, now))(t)
}

func removed(t testing.TB, i *Identity, device byte) *Record {
	t.Helper()
	return made(i.RemoveSelf(key(t, device), now))(t)
}

func recovered(t testing.TB, i *Identity, secret, device, next byte) *Record {
	t.Helper()
	return made(Recover(i, key(t, secret), []statement.PrivateKey{key(t, device)}, []string{to(device)}, key(t, next).Public()))(t)
}

func with(t testing.TB, i *Identity, records ...*Record) *Identity {
	t.Helper()
	out := made(i.With(records...))(t)
	again := made(Parse(out.Record()))(t)
	if !bytes.Equal(again.Record(), out.Record()) || !slices.Equal(again.Devices(), out.Devices()) || !slices.Equal(again.Ever(), out.Ever()) {
		t.Fatal("the document proves something else than it was made from")
	}
	return out
}

func speaks(t testing.TB, name string, i *Identity, now, ever []byte) {
	t.Helper()
	same := func(got []statement.PublicKey, want []byte) bool {
		keys := public(t, want...)
		return len(got) == len(keys) && !slices.ContainsFunc(keys, func(k statement.PublicKey) bool { return !slices.Contains(got, k) })
	}
	if !same(i.Devices(), now) || !same(i.Ever(), ever) {
		t.Errorf("%s: %d devices speak and %d ever did, want %v and %v", name, len(i.Devices()), len(i.Ever()), now, ever)
	}
}

// forge signs a device record that no constructor would make.
func forge(t testing.TB, b deviceBody, by byte) (*Record, error) {
	t.Helper()
	if b.By == (statement.PublicKey{}) {
		b.By = key(t, by).Public()
	}
	return ParseRecord(made(Sign(KindDevice, b, key(t, by)))(t).Bytes())
}

func TestADeviceComesAndGoes(t *testing.T) {
	a := me(t)
	request := made(Enrol(a.ID(), key(t, 2), to(2)))(t)
	text := request.Text()
	read := made(ParseEnrolment(" " + text[:40] + "\r\n" + text[40:] + "\n"))(t) // by mail
	add := made(a.AddDevice(key(t, 1), read, now))(t)
	b := with(t, a, add)
	speaks(t, "added", b, []byte{1, 2}, []byte{1, 2})
	c := with(t, b, removed(t, b, 1))
	speaks(t, "removed", c, []byte{2}, []byte{1, 2})
	if !slices.Equal(c.Recipients(), []string{to(2)}) {
		t.Errorf("a removed device's recipient stays: %v", c.Recipients())
	}
	s := made(Sign("test", add.device, key(t, 1)))(t)
	if b.Verify("test", s) != nil { // control
		t.Error("a device does not speak")
	}
	if c.Verify("test", s) == nil || c.VerifyEver("test", s) != nil {
		t.Error("a removed device speaks, or never did")
	}
	if _, err := c.AddRecipient(key(t, 1), to(9), now); err == nil {
		t.Error("a removed device makes records")
	}
	other := made(Incept(User, key(t, 5), to(5), key(t, 98).Public(), [16]byte{}))(t)
	if _, err := other.AddDevice(key(t, 5), request, now); err == nil {
		t.Error("one identity's request is taken by another")
	}
	if got := removed(t, b, 1).Removed(); !slices.Equal(got, public(t, 1)) || add.Removed() != nil {
		t.Errorf("a removal removes %v", got)
	}
	if add.Identity() != a.ID() || add.Kind() != KindDevice || b.Contact() == a.Contact() {
		t.Error("the record is another's")
	}
	if got := made(ParseContact(b.Contact()))(t); len(got.Devices()) != 2 {
		t.Error("a contact loses records")
	}
}

// RV-06: who holds a device can remove that device, and nothing else.
func TestAThiefWithADeviceEvictsNobody(t *testing.T) {
	a := me(t)
	a = with(t, a, added(t, a, 1, 2), added(t, a, 1, 3))
	if _, err := forge(t, deviceBody{Identity: a.ID(), By: key(t, 1).Public(), Action: removeSelf}, 2); !errors.Is(err, ErrInvalid) {
		t.Errorf("a removal of another device: %v", err)
	}
	own := made(forge(t, deviceBody{Identity: a.ID(), Action: removeSelf}, 2))(t)
	speaks(t, "with a removal that keeps nothing", with(t, a, own), []byte{1, 3}, []byte{1, 2, 3})
	// A thief that adds devices of its own is ended with them by the recovery.
	evil := with(t, a, added(t, a, 2, 66))
	speaks(t, "control: a thief's device", evil, []byte{1, 2, 3, 66}, []byte{1, 2, 3, 66})
	r := recovered(t, a, 99, 4, 98)
	late := added(t, a, 2, 67)
	for _, records := range [][]*Record{{r}, {r, late}, {late, r}} {
		got := with(t, with(t, evil, records...))
		speaks(t, "recovered", got, []byte{4}, []byte{1, 2, 3, 4})
		if !slices.Equal(got.Recipients(), []string{to(4)}) || got.Count() != 1 || got.NextRecovery() != key(t, 98).Public().Digest() {
			t.Error("the recovery keeps a recipient, or commits to nothing new")
		}
	}
	if _, err := Recover(a, key(t, 2), []statement.PrivateKey{key(t, 2)}, []string{to(2)}, key(t, 97).Public()); err == nil {
		t.Error("a device recovers")
	}
	wrong := made(Recover(made(Incept(User, key(t, 1), to(1), key(t, 2).Public(), [16]byte{}))(t), // commits to 2
		key(t, 2), []statement.PrivateKey{key(t, 66)}, []string{to(66)}, key(t, 97).Public()))(t).recovery
	wrong.Identity, wrong.Previous = a.ID(), a.ID()
	forged := made(ParseRecord(sign(t, KindRecovery, wrong, key(t, 2), key(t, 66)).Bytes()))(t)
	speaks(t, "a forged commitment", with(t, a, forged), []byte{1, 2, 3}, []byte{1, 2, 3})
}

func TestADisposedDeviceAddsNobody(t *testing.T) {
	a := me(t)
	b := with(t, a, added(t, a, 1, 2))
	late := added(t, b, 1, 66) // signed with the old time, as a thief would
	speaks(t, "control: before its removal", with(t, b, late), []byte{1, 2, 66}, []byte{1, 2, 66})
	gone := removed(t, b, 1)
	child := added(t, with(t, b, late), 66, 67)
	speaks(t, "after it", with(t, b, gone, late, child), []byte{2}, []byte{1, 2})
	speaks(t, "known before it", with(t, with(t, b, late, child), gone), []byte{2}, []byte{1, 2})
	// A second, wider removal gives nothing back.
	wider := made(forge(t, deviceBody{Identity: a.ID(), Action: removeSelf, Keeps: sorted(b.Records()[0].ID(), late.ID())}, 1))(t)
	speaks(t, "a wider removal", with(t, b, gone, late, wider), []byte{2}, []byte{1, 2})
}

func sorted(ids ...statement.ID) []statement.ID {
	slices.SortFunc(ids, func(a, b statement.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

func TestRecoveriesFollowOneAnother(t *testing.T) {
	a := me(t)
	a1 := with(t, a, added(t, a, 1, 2))
	r1 := recovered(t, a1, 99, 3, 98)
	b := with(t, a1, r1)
	b1 := with(t, b, added(t, b, 3, 4))
	r2 := recovered(t, b1, 98, 5, 97)
	c := with(t, b1, r2)
	speaks(t, "two recoveries", c, []byte{5}, []byte{1, 2, 3, 4, 5})
	if c.Count() != 2 {
		t.Errorf("%d recoveries", c.Count())
	}
	speaks(t, "the second without the first", with(t, a, r2), []byte{1}, []byte{1})
	if _, err := Recover(c, key(t, 99), []statement.PrivateKey{key(t, 1)}, []string{to(1)}, key(t, 96).Public()); err == nil {
		t.Error("a used secret recovers")
	}
	skip := *r2.recovery
	skip.Count = 3
	wrong := made(ParseRecord(sign(t, KindRecovery, skip, key(t, 98), key(t, 5)).Bytes()))(t)
	speaks(t, "a wrong count", with(t, b1, wrong), []byte{3, 4}, []byte{1, 2, 3, 4})
	ahead := made(forge(t, deviceBody{Identity: a.ID(), Count: 7, Action: addRecipient, Value: []byte(to(7))}, 5))(t)
	if got := with(t, c, ahead); len(got.Recipients()) != 1 {
		t.Error("a device record of another count counts")
	}
	// Of two recoveries of one count, the smaller id, whichever comes first.
	other := recovered(t, a1, 99, 6, 96)
	win := byte(3)
	if byID(other, r1) < 0 {
		win = 6
	}
	speaks(t, "one way", with(t, a1, r1, other), []byte{win}, []byte{1, 2, win})
	speaks(t, "the other way", with(t, with(t, a1, other), r1), []byte{win}, []byte{1, 2, win})
	speaks(t, "the longer branch", with(t, a1, append(b1.Records(), other, r2)...), []byte{5}, []byte{1, 2, 3, 4, 5})
	// A recovery follows the one that it names, and not another with the same next secret.
	twin := recovered(t, a1, 99, 6, 98)
	for range 20 { // which of them a map shows first differs
		speaks(t, "the branch that it names", with(t, a1, append(b1.Records(), twin, r2)...), []byte{5}, []byte{1, 2, 3, 4, 5})
	}
}

// Order and repetition make no difference, and every subset proves something.
func TestFoldingHasNoOrder(t *testing.T) {
	a := me(t)
	b := with(t, a, added(t, a, 1, 2), added(t, a, 1, 3), made(a.AddRecipient(key(t, 1), to(50), now))(t))
	b = with(t, b, added(t, b, 3, 4))
	gone := removed(t, b, 1)
	void := added(t, b, 1, 66)
	r := recovered(t, with(t, b, gone), 99, 7, 98)
	c := with(t, b, gone, r)
	all := append(slices.Clone(b.Records()), gone, void, r, added(t, c, 7, 8), recovered(t, b, 99, 9, 97))
	rnd := rand.New(rand.NewPCG(1, 2))
	for subset := range 1 << len(all) {
		var some []*Record
		for i, r := range all {
			if subset>>i&1 == 1 {
				some = append(some, r)
			}
		}
		want := made(a.With(some...))(t)
		twice := append(slices.Clone(some), some...)
		rnd.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
		got := made(made(a.With(twice...))(t).With(some...))(t)
		if !bytes.Equal(got.Record(), want.Record()) || !slices.Equal(got.Devices(), want.Devices()) || !slices.Equal(got.Recipients(), want.Recipients()) {
			t.Fatalf("subset %b depends on its order", subset)
		}
		if again := made(Parse(want.Record()))(t); !slices.Equal(again.Devices(), want.Devices()) || !slices.Equal(again.Ever(), want.Ever()) {
			t.Fatalf("subset %b: its document proves something else", subset)
		}
		// One copy learns the whole from the other, whatever it knew.
		if m := made(want.With(all...))(t); !bytes.Equal(m.Record(), made(a.With(all...))(t).Record()) {
			t.Fatalf("subset %b does not grow into the whole", subset)
		}
	}
}

func TestTwoCopiesMerge(t *testing.T) {
	a := me(t)
	b, c := with(t, a, added(t, a, 1, 2)), with(t, a, added(t, a, 1, 3))
	one, two := made(b.MergeDocument(c.Record()))(t), made(c.MergeDocument(b.Record()))(t)
	if !bytes.Equal(one.Record(), two.Record()) {
		t.Error("merging has an order")
	}
	speaks(t, "merged", one, []byte{1, 2, 3}, []byte{1, 2, 3})
	other := made(Incept(User, key(t, 5), to(5), key(t, 98).Public(), [16]byte{}))(t)
	if _, err := a.MergeDocument(other.Record()); !errors.Is(err, ErrInvalid) {
		t.Errorf("another identity's document: %v", err)
	}
	if _, err := a.With(added(t, other, 5, 6)); !errors.Is(err, ErrInvalid) {
		t.Errorf("another identity's record: %v", err)
	}
}

func TestEveryBitOfARecordAfterInceptionCounts(t *testing.T) {
	a := me(t)
	b := with(t, a, added(t, a, 1, 2))
	for name, r := range map[string]*Record{
		"a device": added(t, a, 1, 2), "a recipient": made(a.AddRecipient(key(t, 1), to(3), now))(t),
		"a removal": removed(t, b, 1), "a recovery": recovered(t, b, 99, 3, 98),
	} {
		raw := r.Bytes()
		if got := made(ParseRecord(raw))(t); got.ID() != r.ID() {
			t.Fatal("control:", name)
		}
		for bit := range 8 * len(raw) {
			x := bytes.Clone(raw)
			x[bit/8] ^= 1 << (bit % 8)
			if _, err := ParseRecord(x); !errors.Is(err, ErrInvalid) {
				t.Fatalf("%s with bit %d flipped: %v", name, bit, err)
			}
		}
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	a := me(t)
	e := made(Enrol(a.ID(), key(t, 2), to(2)))(t)
	foreign := made(Enrol(statement.ID{1}, key(t, 2), to(2)))(t)
	own := made(Enrol(a.ID(), key(t, 1), to(1)))(t)
	unsigned := made(statement.New(KindEnrol, enrolBody{Identity: a.ID(), Device: key(t, 2).Public(), Recipient: to(2)}))(t)
	for name, b := range map[string]deviceBody{
		"nothing":                     {},
		"an unknown action":           {Action: removeSelf + 1},
		"a device that did not ask":   {Action: addDevice, Value: unsigned.Bytes()},
		"a device that asked another": {Action: addDevice, Value: foreign.raw},
		"a device that adds itself":   {Action: addDevice, Value: own.raw},
		"an addition that keeps":      {Action: addDevice, Value: e.raw, Keeps: []statement.ID{{1}}},
		"a classic recipient":         {Action: addRecipient, Value: []byte("age1qqq")},
		"an endless recipient":        {Action: addRecipient, Value: []byte(recipient + strings.Repeat("q", maxRecipient))},
		"a removal with a value":      {Action: removeSelf, Value: []byte{1}},
		"a removal that keeps twice":  {Action: removeSelf, Keeps: []statement.ID{{1}, {1}}},
		"a removal out of order":      {Action: removeSelf, Keeps: []statement.ID{{2}, {1}}},
		"a removal that keeps 65":     {Action: removeSelf, Keeps: many(MaxRecords + 1)},
		"another's removal":           {Action: removeSelf, By: key(t, 2).Public()},
	} {
		b.Identity = a.ID()
		if _, err := forge(t, b, 1); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := forge(t, deviceBody{Identity: a.ID(), Action: removeSelf, Keeps: many(MaxRecords)}, 1); err != nil {
		t.Error("control:", err)
	}
	for name, change := range map[string]func(b *recoveryBody) []byte{
		"control":                      func(*recoveryBody) []byte { return []byte{99, 3} },
		"no count":                     func(b *recoveryBody) []byte { b.Count = 0; return []byte{99, 3} },
		"no device":                    func(b *recoveryBody) []byte { b.Devices = nil; return []byte{99} },
		"no recipient":                 func(b *recoveryBody) []byte { b.Recipients = nil; return []byte{99, 3} },
		"a device that did not sign":   func(b *recoveryBody) []byte { return []byte{99} },
		"another key":                  func(b *recoveryBody) []byte { return []byte{98, 3} },
		"the next key in use":          func(b *recoveryBody) []byte { b.Next = b.Devices[0].Digest(); return []byte{99, 3} },
		"the recovery key as a device": func(b *recoveryBody) []byte { b.Devices = public(t, 99); return []byte{99, 99} },
		"one that keeps out of order":  func(b *recoveryBody) []byte { b.Keeps = []statement.ID{{2}, {1}}; return []byte{99, 3} },
	} {
		b := *recovered(t, a, 99, 3, 98).recovery
		var keys []statement.PrivateKey
		for _, s := range change(&b) {
			keys = append(keys, key(t, s))
		}
		_, err := ParseRecord(sign(t, KindRecovery, b, keys...).Bytes())
		if (err == nil) != (name == "control") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("a recovery with %s: %v", name, err)
		}
	}
	if _, err := ParseRecord(make([]byte, MaxRecord+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a long record: %v", err)
	}
	if _, err := ParseEnrolment(strings.Replace(e.Text(), "-1.", "-2.", 1)); err == nil {
		t.Error("a request of another version is taken")
	}
}

func many(n int) (out []statement.ID) {
	for i := range n {
		out = append(out, statement.ID{byte(i + 1)})
	}
	return out
}

func TestADocumentHoldsOnlyWhatCounts(t *testing.T) {
	a := me(t)
	b := with(t, a, added(t, a, 1, 2))
	gone := removed(t, b, 1)
	void := added(t, b, 1, 66)
	encode := func(records ...*Record) []byte {
		d := document{Inception: a.inception}
		for _, r := range records {
			d.Records = append(d.Records, r.raw)
		}
		return made(statement.Marshal(d))(t)
	}
	good := with(t, b, gone).Records()
	made(Parse(encode(good...)))(t)
	other := made(Incept(User, key(t, 5), to(5), key(t, 98).Public(), [16]byte{}))(t)
	stuffed := append(slices.Clone(good), void)
	slices.SortFunc(stuffed, byID)
	for name, raw := range map[string][]byte{
		"a void record":       encode(stuffed...),
		"a record twice":      encode(good[0], good[0], good[1]),
		"another order":       encode(good[1], good[0]),
		"another identity's":  encode(added(t, other, 5, 6)),
		"65 records":          encode(slices.Repeat(good[:1], MaxRecords+1)...),
		"more than its bytes": make([]byte, MaxDocument+1),
		"an orphan":           encode(added(t, with(t, a, added(t, a, 1, 8)), 8, 9)),
	} {
		if _, err := Parse(raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A thief can fill the present, which says so; recovery makes room again.
func TestAFullDocument(t *testing.T) {
	a := me(t)
	full := a
	var err error
	for n := 0; err == nil; n++ {
		var next *Identity
		if next, err = full.With(made(a.AddRecipient(key(t, 1), to(byte(n)), now))(t)); err == nil {
			full = next
		} else if n < 32 {
			t.Fatalf("full with %d records: %v", n, err)
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if got := with(t, full, recovered(t, full, 99, 4, 98)); len(got.Devices()) != 1 || len(got.Recipients()) != 1 {
		t.Error("a full identity cannot recover")
	}
}

func FuzzParseRecord(f *testing.F) {
	a := me(f)
	b := with(f, a, added(f, a, 1, 2))
	for _, r := range []*Record{added(f, a, 1, 2), removed(f, b, 1), recovered(f, b, 99, 3, 98)} {
		f.Add(r.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseRecord(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Bytes(), raw) {
			t.Error("the record changed")
		}
		if r.Identity() == a.ID() {
			if _, err := b.With(r); err != nil && !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		}
	})
}

func FuzzParseEnrolment(f *testing.F) {
	f.Add(made(Enrol(statement.ID{1}, key(f, 2), to(2)))(f).Text())
	f.Add(enrolPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseEnrolment(text)
		if err != nil {
			return
		}
		if again, err := ParseEnrolment(e.Text()); err != nil || again.Device != e.Device {
			t.Errorf("it does not read again: %v", err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	plain := me(b)
	four := plain
	for n := byte(2); n < 6; n++ {
		four = with(b, four, added(b, plain, 1, n))
	}
	for name, i := range map[string]*Identity{"plain": plain, "4 records": four} {
		raw := i.Record()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package event

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

var (
	alice = statement.Hash("alice")
	bob   = statement.Hash("bob")
	pen   = Pseudonym{7}
)

func release() Event {
	return Event{
		Time: 1_790_000_000_000, Action: Release, Outcome: OK, Rule: "grant", Actor: bob,
		Claims: []Claim{
			{Actor, bob.String(), bob}, {Object, "bafy-object", alice}, {Grant, statement.Hash("grant").String(), bob},
			{Purpose, "research", bob}, {Policy, statement.Hash("policy").String(), statement.ID{}},
		},
	}
}

func commit(t testing.TB, e Event) (*Leaf, []byte, []string) {
	t.Helper()
	raw, ds, err := e.Commit(pen)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ParseLeaf(raw)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, d := range ds {
		texts = append(texts, d.Text)
	}
	return l, raw, texts
}

func TestALeafHoldsNothingOfAPersonAndItsDisclosuresHoldItAll(t *testing.T) {
	e := release()
	l, raw, texts := commit(t, e)
	if l.Time != e.Time || l.Action != Release || l.Type != 600510 || l.Outcome != OK || l.Rule != "grant" || l.Actor != pen {
		t.Errorf("the leaf is %+v", l)
	}
	for _, c := range e.Claims {
		sum := sha256.Sum256([]byte(c.Value))
		for what, b := range map[string][]byte{"value": []byte(c.Value), "person": c.Of[:], "digest of the bare value": sum[:]} {
			if !bytes.Equal(b, make([]byte, 32)) && bytes.Contains(raw, b) {
				t.Errorf("the leaf shows the %s of %s", what, c.Name)
			}
		}
	}
	claims, err := Open(l, texts)
	if err != nil || len(claims) != len(e.Claims) {
		t.Fatalf("%d claims, %v", len(claims), err)
	}
	for i, c := range claims {
		if c.Name != e.Claims[i].Name || c.Value != e.Claims[i].Value {
			t.Errorf("claim %d is %+v", i, c)
		}
	}
	some, err := Open(l, []string{texts[3], texts[0]}) // held back: the rest
	if err != nil || len(some) != 2 || some[0].Value != "research" {
		t.Errorf("two of them: %+v, %v", some, err)
	}
	t.Logf("a leaf of %d bytes", len(raw))
}

// The salt is the defence, and this is its negative control: with an unsalted
// digest the value is found by trying a list.
func TestAValueCannotBeGuessedFromItsDigest(t *testing.T) {
	e := release()
	e.Claims = []Claim{{Name: Actor, Value: "user34@example.com", Of: bob}}
	l, _, _ := commit(t, e)
	unsalted := sha256.Sum256([]byte("user34@example.com"))
	guessed, control := 0, 0
	for i := range 1000 {
		guess := fmt.Sprintf("user%d@example.com", i)
		if sha256.Sum256([]byte(guess)) == unsalted {
			control++
		}
		for _, d := range []Digest{
			sha256.Sum256([]byte(guess)), disclose(nil, Claim{Name: Actor, Value: guess}).Digest(),
			disclose(make([]byte, saltSize), Claim{Name: Actor, Value: guess}).Digest(),
		} {
			if slices.Contains(l.Digests, d) {
				guessed++
			}
		}
	}
	if guessed != 0 || control != 1 {
		t.Errorf("%d guesses of the salted digest, %d of the bare one", guessed, control)
	}
	again, _, _ := commit(t, e)
	for _, d := range again.Digests {
		if slices.Contains(l.Digests, d) {
			t.Error("the same claim has the same digest twice")
		}
	}
}

func TestTheNumberOfDigestsDoesNotCountTheClaims(t *testing.T) {
	for n := range MaxClaims + 1 {
		e := Event{Action: Start, Outcome: OK, Actor: bob}
		for i := range n {
			e.Claims = append(e.Claims, Claim{Name: fmt.Sprintf("c%d", i), Value: "x"})
		}
		l, _, texts := commit(t, e)
		want := max(1, (n+DigestStep-1)/DigestStep) * DigestStep
		if len(l.Digests) != want || len(texts) != n {
			t.Errorf("%d claims: %d digests, want %d", n, len(l.Digests), want)
		}
	}
}

func TestForgedDoubledAndForeignDisclosuresAreRefused(t *testing.T) {
	l, _, texts := commit(t, release())
	_, _, foreign := commit(t, release()) // the same words, of another event
	forged := disclose(make([]byte, saltSize), Claim{Name: Object, Value: "another"}).Text
	b := []byte(texts[1])
	b[9] ^= 1
	for name, bad := range map[string][]string{
		"forged": {forged}, "foreign": {foreign[1]}, "doubled": {texts[0], texts[1], texts[0]}, "edited": {string(b)},
		"empty": {""}, "padded": {texts[0] + "="}, "cut": {texts[0][:len(texts[0])-1]}, "a line longer": {texts[0] + "\n"},
		"one of them": {texts[0], texts[1], forged}, "huge": {strings.Repeat("A", MaxDisclosure+1)},
		"more than digests": slices.Repeat(texts[:1], DigestStep+1),
	} {
		if c, err := Open(l, bad); !errors.Is(err, ErrDisclosure) || c != nil {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if _, err := Open(l, texts); err != nil { // control
		t.Error(err)
	}
}

// A log's owner commits to what it likes, so what a digest stands for may be
// malformed on purpose.
func TestACommittedDisclosureStillHasToBeOne(t *testing.T) {
	salt := encoding.EncodeToString(make([]byte, saltSize))
	for name, raw := range map[string]string{
		"two parts": `["` + salt + `","a"]`, "four parts": `["` + salt + `","a","b","c"]`, "a number": `["` + salt + `","a",1]`,
		"a space": `["` + salt + `", "a","b"]`, "nothing": `["` + salt + `","a","b\"\\"]`, "an escape": `["` + salt + `","a","\u0062"]`, "short salt": `["AAAA","a","b"]`,
		"a bad name": `["` + salt + `","A b","b"]`, "a control": `["` + salt + `","a","\u001b[2J"]`, "no JSON": `salt`,
		"an object": `{"a":"b"}`, "a direction": `["` + salt + `","a","` + "\u202e" + `"]`,
	} {
		text := encoding.EncodeToString([]byte(raw))
		l := &Leaf{Digests: []Digest{{0}, Disclosure{Text: text}.Digest()}}
		slices.SortFunc(l.Digests, compare)
		_, err := Open(l, []string{text})
		if good := name == "nothing"; good != (err == nil) || !good && !errors.Is(err, ErrDisclosure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := encoding.EncodeToString([]byte(`["` + salt + `","a","b"]`))
	for _, text := range []string{
		whole[:9] + "\n" + whole[9:], whole[:9] + "\r" + whole[9:], whole + "\n",
		encoding.EncodeToString([]byte(`["` + salt[:9] + "\r\n" + salt[9:] + `","a","b"]`)),
	} {
		if _, err := Open(&Leaf{Digests: []Digest{Disclosure{Text: text}.Digest()}}, []string{text}); !errors.Is(err, ErrDisclosure) {
			t.Errorf("%q, in which a line ends: %v", text, err)
		}
	}
	one, two := disclose(make([]byte, saltSize), Claim{Name: Object, Value: "a"}), disclose(bytes.Repeat([]byte{1}, saltSize), Claim{Name: Object, Value: "b"})
	l := &Leaf{Digests: []Digest{one.Digest(), two.Digest()}}
	slices.SortFunc(l.Digests, compare)
	if _, err := Open(l, []string{one.Text, two.Text}); !errors.Is(err, ErrDisclosure) {
		t.Errorf("two objects: %v", err)
	}
}

func TestWhatDoesNotFitIsRefusedAndNotShortened(t *testing.T) {
	for name, change := range map[string]func(*Event){
		"an action of its own":  func(e *Event) { e.Action = "alice@example.com" },
		"no action":             func(e *Event) { e.Action = "" },
		"no outcome":            func(e *Event) { e.Outcome = 0 },
		"an unknown outcome":    func(e *Event) { e.Outcome = Failed + 1 },
		"before 1970":           func(e *Event) { e.Time = -1 },
		"a long rule":           func(e *Event) { e.Rule = strings.Repeat("r", MaxRule+1) },
		"a rule with an escape": func(e *Event) { e.Rule = "\x1b[31m" },
		"a rule in Greek":       func(e *Event) { e.Rule = "κανόνας" },
		"a long value":          func(e *Event) { e.Claims[0].Value = strings.Repeat("v", MaxValue+1) },
		"a line break":          func(e *Event) { e.Claims[0].Value = "a\nb" },
		"a broken character":    func(e *Event) { e.Claims[0].Value = "\xff" },
		"a nameless claim":      func(e *Event) { e.Claims[0].Name = "" },
		"a name with a quote":   func(e *Event) { e.Claims[0].Name = `a"` },
		"two of a name":         func(e *Event) { e.Claims = append(e.Claims, e.Claims[0]) },
		"too many claims":       func(e *Event) { e.Claims = make([]Claim, MaxClaims+1) },
		"an actor of no person": func(e *Event) { e.Actor = statement.ID{} },
	} {
		e := release()
		change(&e)
		if _, _, err := e.Commit(pen); !errors.Is(err, ErrEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := release()
	if _, _, err := e.Commit(Pseudonym{}); !errors.Is(err, ErrEvent) {
		t.Errorf("an actor without a pseudonym: %v", err)
	}
}

func TestCleanTextFits(t *testing.T) {
	for _, bad := range []string{"a\x1b[2Jb", "\u202egpj.exe", "line\nline", "\xff\xfe", strings.Repeat("é", MaxValue), "\u2028"} {
		e := release()
		e.Claims[0].Value, e.Rule = Clean(bad), Rule(bad)
		if _, _, err := e.Commit(pen); err != nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := Clean("as it is"); got != "as it is" {
		t.Errorf("%q", got)
	}
}

func TestOtherBytesAreNoLeaf(t *testing.T) {
	e := release()
	good, raw, _ := commit(t, e)
	for name, change := range map[string]func(*Leaf){
		"another type":      func(l *Leaf) { l.Type++ },
		"no type":           func(l *Leaf) { l.Action, l.Type = "later-word", 0 },
		"no outcome":        func(l *Leaf) { l.Outcome = 9 },
		"unsorted":          func(l *Leaf) { l.Digests = slices.Clone(l.Digests); slices.Reverse(l.Digests) },
		"two that are one":  func(l *Leaf) { l.Digests = slices.Clone(l.Digests); l.Digests[1] = l.Digests[0] },
		"an odd number":     func(l *Leaf) { l.Digests = l.Digests[1:] },
		"none":              func(l *Leaf) { l.Digests = nil },
		"too many":          func(l *Leaf) { l.Digests = make([]Digest, MaxClaims+DigestStep) },
		"an escape":         func(l *Leaf) { l.Rule = "\x1b" },
		"a word in capital": func(l *Leaf) { l.Action = "Release" },
	} {
		l := *good
		change(&l)
		b, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseLeaf(b); !errors.Is(err, ErrLeaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := *good
	later.Action, later.Type = "teleport", 600699
	b, _ := later.encode()
	if l, err := ParseLeaf(b); err != nil || l.Action != "teleport" { // a newer version wrote it
		t.Errorf("a later action: %v", err)
	}
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
		if _, err := ParseLeaf(bad); !errors.Is(err, ErrLeaf) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestPeopleAreListedOnce(t *testing.T) {
	e := release()
	if got := e.People(); !slices.Equal(got, []statement.ID{bob, alice}) {
		t.Errorf("%v", got)
	}
}

func FuzzLeaf(f *testing.F) {
	_, raw, _ := commit(f, release())
	f.Add(raw)
	f.Add([]byte{0x88, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLeaf(b)
		if err != nil {
			return
		}
		if again, err := l.encode(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("re-encodes differently: %v", err)
		}
	})
}

func FuzzDisclosure(f *testing.F) {
	_, _, texts := commit(f, release())
	for _, text := range texts {
		f.Add(text)
	}
	f.Add("W10")
	f.Add(texts[0][:9] + "\r" + texts[0][9:])
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseDisclosure(text)
		if err != nil {
			return
		}
		raw, _ := encoding.DecodeString(text)
		salt, _ := encoding.DecodeString(string(raw[2:24]))
		if again := disclose(salt, c).Text; again != text {
			t.Fatalf("%q is written %q", text, again)
		}
		if !plain(c.Value) {
			t.Fatalf("%q is not plain", c.Value)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	e := release()
	for b.Loop() {
		if _, _, err := e.Commit(pen); err != nil {
			b.Fatal(err)
		}
	}
}

package evidence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/ed25519"
	"crypto/rand"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

var (
	alice = statement.Hash("alice")
	bob   = statement.Hash("bob")
	now   = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
)

// party is a member with its log.
type party struct {
	*journal.Journal
	key statement.PrivateKey // of the log
}

// logOf runs the log of the peer and log keys of a name.
func logOf(t testing.TB, peer, log statement.PrivateKey) *party {
	t.Helper()
	dir := t.TempDir()
	master := make([]byte, keystore.MasterSize)
	rand.Read(master)
	secrets, err := keystore.OpenErasable(filepath.Join(dir, "slots"), master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secrets.Close() })
	table, err := people.Open(new(kv.Memory), secrets)
	if err != nil {
		t.Fatal(err)
	}
	binding, err := audit.Bind(peer, log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(filepath.Join(dir, "audit"), audit.Config{Binding: binding, Key: log})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(l, filepath.Join(dir, "audit"), table)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- j.Run(context.Background()) }()
	<-j.Running()
	t.Cleanup(func() {
		if err := errors.Join(j.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return &party{j, log}
}

// validator runs the log of a network's first validator.
func validator(t testing.TB) *party {
	return logOf(t, trusttest.Key("net validator 0 peer"), trusttest.Key("net validator 0 log"))
}

// release is one to bob of an object of alice.
func release(i int) event.Event {
	return event.Event{
		Time: now.UnixMilli() + int64(i), Action: event.Release, Outcome: event.OK, Rule: "grant", Actor: bob,
		Claims: []event.Claim{
			{Name: event.Actor, Value: bob.String(), Of: bob},
			{Name: event.Object, Value: fmt.Sprintf("bafy-%d", i), Of: alice},
		},
	}
}

// fill logs n events, the first of which says nothing.
func (p *party) fill(t testing.TB, n int) *party {
	t.Helper()
	for i := range n {
		e := release(i)
		if i == 0 {
			e = event.Event{Time: now.UnixMilli(), Action: event.Start, Outcome: event.OK}
		}
		if err := p.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *party) checkpoint(t testing.TB) audit.Checkpoint {
	t.Helper()
	c, err := p.Log().Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cosign has validators sign a checkpoint as witnesses.
func (p *party) cosign(t testing.TB, c audit.Checkpoint, validators ...int) audit.Checkpoint {
	t.Helper()
	text, _, _ := bytes.Cut(c.Note, []byte("\n\n"))
	var lines []byte
	var known []note.Verifier
	for _, i := range validators {
		key := trusttest.Key(fmt.Sprintf("net validator %d witness", i))
		s, err := torchwood.NewCosignatureSigner(fmt.Sprintf("cerebrum.dev/witness/%d", i), ed25519.NewKeyFromSeed(key.Seed()))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, s)
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := bytes.Cut(signed, []byte("\n\n"))
		lines, known = append(lines, line...), append(known, s.Verifier())
	}
	out, err := p.Log().Cosign(c.Note, lines, note.VerifierList(known...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (p *party) bundle(t testing.TB, x Export) []byte {
	t.Helper()
	if x.Checkpoint.Note == nil {
		x.Checkpoint = p.checkpoint(t)
	}
	var out bytes.Buffer
	if err := WriteBundle(&out, p.Journal, x); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verify(raw []byte, x Expect) (*Report, error) {
	return Verify(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, x)
}

func network(t testing.TB) (*trusttest.Network, [][]byte, Anchor) {
	net := trusttest.New(t, "net", 4)
	return net, [][]byte{net.Raw()}, Anchor{Network: net.Network()}
}

// refused expects an error that names all of the words.
func refused(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", what)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: the error is %q, without %q", what, err, w)
		}
	}
}

func TestAStrangerVerifiesAValidatorsLog(t *testing.T) {
	_, records, anchor := network(t)
	for _, n := range []int{1, 255, 256, 257, 700} {
		p := validator(t).fill(t, n)
		raw := p.bundle(t, Export{Checkpoint: p.cosign(t, p.checkpoint(t), 1, 2, 3), Network: records})
		r, err := verify(raw, Expect{Anchor: anchor, Witnesses: 3})
		if err != nil {
			t.Fatalf("%d entries: %v", n, err)
		}
		if r.Entries() != int64(n) || r.First != 0 || r.Owner.Seat != 1 || !r.Owner.Anchored || len(r.Cosigned) != 3 || r.Witnesses() != 3 ||
			r.Events != int64(n) || r.Shown != int64(n-1) || r.Claims != int64(2*(n-1)) || r.Withheld() != 1 || r.Erased != 0 {
			t.Errorf("%d entries: %+v, owner %+v", n, r, r.Owner)
		}
		if !r.From.Equal(now) || !r.To.Equal(now.Add(time.Duration(n-1)*time.Millisecond)) {
			t.Errorf("from %s to %s", r.From, r.To)
		}
		text := strings.Join(append(r.Proves(r.Fresh().Add(time.Minute)), r.NotProved()...), "\n")
		for _, want := range []string{"of validator 1", "from 0 to", "3 of 3 other validators", "(60 s ago)", "that everything that happened was logged"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 600)
	for name, c := range map[string]struct {
		x    Export
		e    Expect
		says string
	}{
		"no committee records": {Export{}, Expect{}, "which network the log is of"},
		"no anchor":            {Export{Network: records}, Expect{}, "that the network is yours"},
		"no witness":           {Export{Network: records}, Expect{Anchor: anchor}, "no witness cosigned"},
		"a part":               {Export{Network: records, First: 300}, Expect{Anchor: anchor}, "what the 256 entries before 256 say"},
		"withheld":             {Export{Network: records, Withhold: true}, Expect{Anchor: anchor}, "what 600 events were about"},
	} {
		r, err := verify(p.bundle(t, c.x), c.e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := strings.Join(r.NotProved(), "\n"); !strings.Contains(text, c.says) {
			t.Errorf("%s: %q is not in\n%s", name, c.says, text)
		}
	}
}

func TestWhoWasErasedIsNotShownAndTheRestIs(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 10)
	if err := p.Forget(t.Context(), bob, now, "request"); err != nil {
		t.Fatal(err)
	}
	raw := p.bundle(t, Export{Network: records})
	if bytes.Contains(raw, []byte(bob.String())) {
		t.Error("the erased person is in the bundle")
	}
	var objects []string
	err := Read(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, Expect{Anchor: anchor}, func(e *Entry) error {
		if who, said := event.Find(e.Claims, event.Actor); said {
			t.Errorf("entry %d shows %s", e.Index, who)
		}
		if what, said := event.Find(e.Claims, event.Object); said {
			objects = append(objects, what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify(raw, Expect{Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	if r.Erased != 9 || r.Shown != 9 || len(objects) != 9 || objects[8] != "bafy-9" {
		t.Errorf("%+v, objects %v", r, objects)
	}
	if text := strings.Join(r.NotProved(), "\n"); !strings.Contains(text, "who 9 events concern in part") {
		t.Error(text)
	}
}

func TestNoByteOfABundleMayChange(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 8)
	raw := p.bundle(t, Export{Checkpoint: p.cosign(t, p.checkpoint(t), 1, 2), Network: records})
	step := 7 // coprime to 8: every bit of a byte has its turn
	if testing.Short() {
		step = 97
	}
	for i := 0; i < len(raw); i += step {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		if _, err := verify(bad, Expect{}); err == nil {
			t.Fatalf("byte %d of %d may change", i, len(raw))
		}
		if _, err := verify(raw[:i], Expect{}); err == nil {
			t.Fatalf("it may end at byte %d of %d", i, len(raw))
		}
	}
	refused(t, "a byte more", second(verify(append(bytes.Clone(raw), 0), Expect{})), "behind the seal")
	if _, err := verify(raw, Expect{Anchor: anchor}); err != nil { // the negative control
		t.Error(err)
	}
}

func second(_ *Report, err error) error { return err }

func TestALogThatWasRolledBackOrForked(t *testing.T) {
	_, records, _ := network(t)
	p := validator(t).fill(t, 300)
	before := p.bundle(t, Export{Network: records})
	kept := p.checkpoint(t)
	after := p.fill(t, 20).bundle(t, Export{Network: records})
	newer := p.checkpoint(t)
	if _, err := verify(after, Expect{Known: [][]byte{kept.Note}}); err != nil {
		t.Fatal(err)
	}
	refused(t, "rolled back", second(verify(before, Expect{Known: [][]byte{newer.Note}})), "the log ends here")
	forked := validator(t).fill(t, 100).fill(t, 220)
	fork := forked.bundle(t, Export{Network: records})
	refused(t, "a fork", second(verify(fork, Expect{Known: [][]byte{kept.Note}})), "not those that others know")
	refused(t, "a checkpoint of another log", second(verify(after, Expect{Known: [][]byte{logOf(t, trusttest.Key("x"), trusttest.Key("y")).checkpoint(t).Note}})))
	refused(t, "no checkpoint", second(verify(after, Expect{Known: [][]byte{[]byte("5 entries")}})))
}

func TestTheNetworkMustBeTheAuditors(t *testing.T) {
	net, records, anchor := network(t)
	p := validator(t).fill(t, 3)
	raw := p.bundle(t, Export{Network: records})
	refused(t, "another network", second(verify(raw, Expect{Anchor: Anchor{Network: statement.Hash("another")}})), "of the network "+net.Network().String())
	refused(t, "no records", second(verify(p.bundle(t, Export{}), Expect{Anchor: anchor})), "no committee record")
	next := follow(t, net, nil)
	longer := p.bundle(t, Export{Network: [][]byte{net.Raw(), next}})
	if r, err := verify(longer, Expect{Anchor: anchor}); err != nil || r.Owner.Seat != 1 || !r.Owner.Listed {
		t.Fatal(err)
	}
	if r, err := verify(raw, Expect{Anchor: Anchor{net.Network(), [][]byte{net.Raw(), next}}}); err != nil || r.Owner.Newer != 1 {
		t.Fatal(err)
	}
	other := follow(t, net, func(r *trust.Record) { r.NotBefore++ })
	refused(t, "a fork of the committee", second(verify(longer, Expect{Anchor: Anchor{net.Network(), [][]byte{net.Raw(), other}}})), "do not go together")
	for name, records := range map[string][][]byte{
		"a record without its predecessor": {next},
		"something else":                   {net.Raw(), []byte("x")},
		"two memberships":                  {net.Raw(), member(t, net, p.Log().Binding().Peer), member(t, net, p.Log().Binding().Peer)},
		"a membership alone":               {member(t, net, p.Log().Binding().Peer)},
		"a signature too many":             {padded(t, net)},
	} {
		refused(t, name, second(verify(p.bundle(t, Export{Network: records}), Expect{})))
	}
}

// follow is the record that follows the network's, as a chain keeps it.
func follow(t *testing.T, net *trusttest.Network, change func(*trust.Record)) []byte {
	t.Helper()
	c, err := trust.Fixed(net.Committee).Add(net.Succeed(t, change).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c.Raw()
}

// padded is the genesis with a signature that proves nothing.
func padded(t *testing.T, net *trusttest.Network) []byte {
	s, err := statement.Parse(net.Raw())
	if err != nil {
		t.Fatal(err)
	}
	s.AddSignature(200, trusttest.Key("nobody"))
	return s.Bytes()
}

func member(t *testing.T, net *trusttest.Network, peer statement.PublicKey) []byte {
	t.Helper()
	m := trust.Membership{
		Network: net.Network(), Record: net.ID(), Peer: peer, Identity: alice, Role: trust.RoleNode, NotBefore: net.NotBefore, Expires: net.Expires,
	}
	s, err := statement.New(trust.KindMembership, m)
	if err != nil {
		t.Fatal(err)
	}
	return net.Sign(s, net.Quorum()...).Bytes()
}

func TestTheRecordsSayWhoseLogItIs(t *testing.T) {
	net, records, anchor := network(t)
	node := logOf(t, trusttest.Key("node"), trusttest.Key("node log")).fill(t, 3)
	peer := node.Log().Binding().Peer
	r, err := verify(node.bundle(t, Export{Network: append(records, member(t, net, peer))}), Expect{Anchor: anchor})
	if err != nil || r.Owner.Role != trust.RoleNode || r.Owner.Identity != alice || r.Owner.Seat != 0 || r.Witnesses() != 4 {
		t.Fatalf("%v, %+v", err, r)
	}
	if r, err = verify(node.bundle(t, Export{Network: records}), Expect{Anchor: anchor}); err != nil || r.Owner.Role != 0 ||
		!strings.Contains(strings.Join(r.NotProved(), "\n"), "that the peer is a member") {
		t.Errorf("%v, %+v", err, r)
	}
	for name, m := range map[string][]byte{
		"another's membership":      member(t, net, trusttest.Key("other").Public()),
		"of another network":        member(t, trusttest.New(t, "other", 4), peer),
		"with a signature too many": bytes.Join([][]byte{member(t, net, peer)}, nil),
	} {
		if name == "with a signature too many" {
			s, err := statement.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			s.AddSignature(200, trusttest.Key("nobody"))
			m = s.Bytes()
		}
		refused(t, name, second(verify(node.bundle(t, Export{Network: append(records, m)}), Expect{})))
	}
	// A validator's log under a key that the record does not name, as whoever stole the
	// peer key alone would write it.
	thief := logOf(t, trusttest.Key("net validator 0 peer"), trusttest.Key("stolen")).fill(t, 3)
	refused(t, "another log key", second(verify(thief.bundle(t, Export{Network: records}), Expect{})), "another key for the log of validator 1")
}

func TestWitnesses(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 5)
	plain := p.checkpoint(t)
	refused(t, "too few", second(verify(p.bundle(t, Export{Checkpoint: plain, Network: records}), Expect{Witnesses: 1})), "0 validators cosigned")
	// It may not be its own witness, nor is a stranger one.
	if r, err := verify(p.bundle(t, Export{Checkpoint: p.cosign(t, plain, 0, 7), Network: records}), Expect{Anchor: anchor}); err != nil || len(r.Cosigned) != 0 || r.Strangers != 2 {
		t.Errorf("%v, %+v", err, r)
	}
	signed := p.cosign(t, plain, 1)
	lines := strings.Split(strings.TrimSuffix(string(signed.Note), "\n"), "\n")
	// A line under a witness's name and key number that is not its signature: of another
	// checkpoint.
	other := validator(t).fill(t, 9)
	far := strings.Split(strings.TrimSuffix(string(other.cosign(t, other.checkpoint(t), 1).Note), "\n"), "\n")
	forged := ""
	for _, l := range lines {
		if strings.Contains(l, "witness/1") {
			l = far[len(far)-1]
		}
		forged += l + "\n"
	}
	c, err := p.Log().Binding().OpenCheckpoint([]byte(forged))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a false cosignature", second(verify(p.bundle(t, Export{Checkpoint: c, Network: records}), Expect{})), "cosignature of validator 2 is false")
}

// A log's owner can seal whatever it likes. Disclosures must be of their entries all
// the same.
func TestTheOwnerCannotLieInDisclosures(t *testing.T) {
	p := validator(t).fill(t, 5)
	texts := map[int64][]string{}
	if err := p.Scan(func(e *journal.Entry) error {
		o, err := e.Open()
		texts[e.Index] = o.Disclosures
		return err
	}); err != nil {
		t.Fatal(err)
	}
	try := func(all ...any) error {
		var out bytes.Buffer
		if err := p.Log().ExportBundle(&out, audit.Export{Checkpoint: p.checkpoint(t), Disclosures: func(write func([]byte) error) error {
			for _, d := range all {
				raw, ok := d.([]byte)
				if !ok {
					var err error
					if raw, err = statement.Marshal(d); err != nil {
						return err
					}
				}
				if err := write(raw); err != nil {
					return err
				}
			}
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		return second(verify(out.Bytes(), Expect{}))
	}
	at := func(index int64, texts []string) disclosed {
		return disclosed{Format: format, Index: index, Texts: texts}
	}
	if err := try(at(1, texts[1]), at(3, texts[3][:1])); err != nil {
		t.Fatal(err)
	}
	refused(t, "of another entry", try(at(1, texts[2])), "does not commit", "record 1, the bundle")
	refused(t, "twice", try(at(1, texts[1]), at(1, texts[1])), "order")
	refused(t, "backwards", try(at(2, texts[2]), at(1, texts[1])), "order")
	refused(t, "of no entry", try(at(5, texts[1])), "not there")
	refused(t, "of a negative one", try(at(-1, texts[1])), "malformed")
	refused(t, "one text twice", try(at(1, []string{texts[1][0], texts[1][0]})), "twice")
	refused(t, "garbage", try([]byte("garbage")), "malformed")
	refused(t, "of a later format", try(disclosed{Format: 2, Index: 1, Texts: texts[1]}), "malformed")
}

func TestADirectoryOfTilesHoldsOrNot(t *testing.T) {
	_, records, anchor := network(t)
	p := validator(t).fill(t, 530)
	x := Export{Checkpoint: p.cosign(t, p.checkpoint(t), 1, 2, 3), Network: records}
	dir := filepath.Join(t.TempDir(), "tiles")
	if err := WriteTiles(dir, p.Journal, x); err != nil {
		t.Fatal(err)
	}
	own := x // a validator signs its own log too, which makes it no witness
	own.Checkpoint = p.cosign(t, x.Checkpoint, 0)
	if by, of, err := own.Cosigned(p.Log().Binding()); len(by) != 3 || of != 3 || err != nil || own.Checkpoint.Signatures() != 5 {
		t.Errorf("cosigned by %d of %d, in %d signatures, %v", len(by), of, own.Checkpoint.Signatures(), err)
	}
	if err := WriteTiles(dir, p.Journal, x); err == nil {
		t.Error("a folder is overwritten")
	}
	look := func() error { return second(VerifyTiles(os.DirFS(dir), Expect{Anchor: anchor, Witnesses: 3})) }
	r, err := VerifyTiles(os.DirFS(dir), Expect{Anchor: anchor, Witnesses: 3})
	if err != nil || r.Entries() != 530 || r.Events != 530 || r.Owner.Seat != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	var files []string
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name, _ := filepath.Rel(dir, path)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put := func(b []byte) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < len(raw); i += max(1, len(raw)/40) {
			bad := bytes.Clone(raw)
			bad[i] ^= 4
			put(bad)
			refused(t, fmt.Sprintf("byte %d of %s", i, name), look())
		}
		put(raw[:len(raw)-1])
		refused(t, name+" cut short", look())
		put(append(bytes.Clone(raw), 0))
		refused(t, name+" with a byte more", look())
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		refused(t, name+" missing", look(), filepath.ToSlash(name), "missing")
		put(raw)
	}
	stray := filepath.Join(dir, "tile", "9")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "a file more", look(), "tile/9")
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	if err := look(); err != nil {
		t.Error(err)
	}
	known := [][]byte{validator(t).fill(t, 10).fill(t, 10).checkpoint(t).Note}
	refused(t, "a fork", second(VerifyTiles(os.DirFS(dir), Expect{Known: known})), "not those that others know")
}

func FuzzVerify(f *testing.F) {
	_, records, _ := network(f)
	p := validator(f).fill(f, 3)
	f.Add(p.bundle(f, Export{Network: records}))
	f.Add(p.bundle(f, Export{Withhold: true}))
	f.Add([]byte("cerebrum-audit-bundle/1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := verify(raw, Expect{})
		if err != nil {
			return
		}
		if r.Entries() != r.Events+r.Notes || r.Shown > r.Events || len(r.Proves(now)) == 0 || len(r.NotProved()) == 0 {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzDisclosure(f *testing.F) {
	raw, err := statement.Marshal(disclosed{Format: format, Index: 1, Texts: []string{"WyJh"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	leaf, _, err := (&event.Event{Time: 1, Action: event.Start, Outcome: event.OK}).Commit(event.Pseudonym{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var opened []*Entry
		given := 0
		p := pairs{
			batch: new(batch), at: -1,
			next: func() (pair, bool, error) {
				given++
				return pair{index: 0, raw: leaf}, given == 1, nil
			},
			hand: func(b *batch) error {
				b.open()
				opened = append(opened, b.opened...)
				return b.err
			},
		}
		if err := p.disclosure(raw); err != nil {
			return
		}
		if err := p.rest(); err == nil && (p.at != 0 || len(opened) != 1 || len(opened[0].Claims) > 0) {
			t.Errorf("an entry that is not there is shown: %d", p.at)
		}
		var d disclosed
		if err := statement.Unmarshal(raw, &d); err != nil {
			t.Errorf("it is not the one encoding: %v", err)
		}
	})
}

package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// net is a committee of witnesses and one node's log that they witness.
type net struct {
	*Collector
	t      testing.TB
	record *trust.Committee
	stands []*stand
	wires  *wires
	clock  *clock
	dir    string
	kept   [][]byte // what Keep was given
	stop   func()
}

var (
	peerKey = trusttest.Key("node peer")
	logKey  = trusttest.Key("node log")
)

func newNet(t testing.TB, validators int) *net {
	t.Helper()
	n := &net{
		t: t, record: trusttest.New(t, "net", validators).Committee, clock: &clock{now: trusttest.Start}, dir: filepath.Join(t.TempDir(), "audit"),
		wires: &wires{
			to: map[statement.PublicKey]*Witness{}, asked: map[statement.PublicKey]int{},
			answer: map[statement.PublicKey]func(Call, []byte) ([]byte, error){},
		},
	}
	for i, v := range n.record.Validators {
		s := newStand(t, trusttest.Key(fmt.Sprintf("net validator %d witness", i)))
		s.clock = n.clock
		s.reopen()
		n.stands = append(n.stands, s)
		n.wires.to[v.Peer] = s.Witness
	}
	n.open()
	return n
}

// open opens the log, runs its writer, and makes a new collector.
func (n *net) open() {
	n.t.Helper()
	binding, err := audit.Bind(peerKey, logKey)
	if err != nil {
		n.t.Fatal(err)
	}
	l, err := audit.Open(n.dir, audit.Config{Binding: binding, Key: logKey, Every: time.Hour})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	<-l.Running()
	stopped := false
	n.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			l.Close()
		}
	}
	n.t.Cleanup(n.stop)
	n.Collector = &Collector{
		Log: l, Binding: binding, Transport: n.wires, Now: n.clock.Now, Logger: slog.New(slog.NewTextHandler(n.t.Output(), nil)),
		Keep: func(c []byte) error { n.kept = append(n.kept, c); return nil },
	}
}

// grow adds records and publishes them.
func (n *net) grow(count int) {
	n.t.Helper()
	for i := range count {
		if err := n.Log.Append(n.t.Context(), fmt.Appendf(nil, "%d %d at %v", n.Log.Size(), i, n.clock.Now())); err != nil {
			n.t.Fatal(err)
		}
	}
	if _, err := n.Log.Checkpoint(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) round() {
	n.t.Helper()
	n.clock.pass(longestWait)
	if err := n.Round(n.t.Context(), n.record, 0); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) standing() Standing {
	n.t.Helper()
	s, err := n.Standing(n.record)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *net) peer(i int) statement.PublicKey { return n.record.Validators[i].Peer }

// down takes a witness off the network.
func (n *net) down(i int) { delete(n.wires.to, n.peer(i)) }
func (n *net) up(i int)   { n.wires.to[n.peer(i)] = n.stands[i].Witness }

// verified checks offline that a quorum stands under the log's newest cosigned
// checkpoint and that a proof under it holds.
func (n *net) verified(record int64) (proof, leaf []byte) {
	n.t.Helper()
	policy, err := Policy(n.Log.Binding(), n.record)
	if err != nil {
		n.t.Fatal(err)
	}
	if proof, err = n.Log.ProveInclusion(record); err != nil {
		n.t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := n.Log.ExportBundle(&buf, audit.Export{Checkpoint: n.Log.Cosigned(), Network: [][]byte{n.record.Raw()}}); err != nil {
		n.t.Fatal(err)
	}
	_, err = audit.VerifyBundle(&buf, audit.Check{
		Peer: peerKey.Public(), Policy: PolicyOf(n.record.Network()),
		Record: func(i int64, b []byte) error {
			if i == record {
				leaf = bytes.Clone(b)
			}
			return nil
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	if err := audit.VerifyInclusion(policy, leaf, proof); err != nil {
		n.t.Fatal(err)
	}
	return proof, leaf
}

func TestALogIsWitnessedWhileOneWitnessIsOffline(t *testing.T) {
	n := newNet(t, 4)
	n.down(3)
	for i := range 5 {
		n.grow(37)
		n.round()
		if s := n.standing(); s.Have != 3 || s.Need != 3 || s.Of != 4 || s.Cosigned != int64(37*(i+1)) || s.Behind != 0 || len(s.Refused) > 0 {
			t.Fatalf("%+v", s)
		}
	}
	if !bytes.Equal(n.kept[len(n.kept)-1], n.Log.Cosigned().Note) {
		t.Error("what was cosigned last was not kept elsewhere")
	}
	n.up(3) // it catches up without the log growing, and knows nothing yet
	n.round()
	if s := n.standing(); s.Have != 4 || s.Age > longestWait {
		t.Fatalf("%+v", s)
	}
	n.clock.pass(time.Hour)
	if s := n.standing(); s.Age < time.Hour || s.Behind != 0 {
		t.Errorf("an idle log is old and not behind: %+v", s)
	}
	if proof, _ := n.verified(100); len(proof) > 2<<10 {
		t.Errorf("a proof of %d bytes", len(proof))
	}
	before := n.wires.asked[n.peer(0)]
	n.round()
	if n.wires.asked[n.peer(0)] != before {
		t.Error("a witness is asked for nothing new")
	}
	n.stop()
	n.open() // a restart forgets what witnesses have, and learns it from them
	n.grow(3)
	n.round()
	if s := n.standing(); s.Have != 4 || s.Cosigned != 188 {
		t.Errorf("%+v", s)
	}
	for _, s := range n.stands {
		if len(s.docket.All()) > 0 || !s.RolledBack().IsZero() {
			t.Errorf("an honest log and honest witnesses accuse each other: %v", s.docket.All())
		}
	}
}

// A witness that failed is left alone for a while, unless somebody waits for it.
func TestAWitnessIsAskedAgainWhenSomebodyWaits(t *testing.T) {
	n := newNet(t, 4)
	n.down(3)
	n.grow(5)
	n.round()
	n.up(3)
	for _, c := range []struct {
		retry bool
		have  int
	}{{false, 3}, {true, 4}} {
		if c.retry {
			n.Retry()
		}
		if err := n.Round(t.Context(), n.record, 0); err != nil {
			t.Fatal(err)
		}
		if s := n.standing(); s.Have != c.have {
			t.Errorf("asked again %v: %+v", c.retry, s)
		}
	}
}

// Whoever exports the log right after a round has it cosigned a second later, and not
// only with the round after the next.
func TestAWitnessThatJustCosignedIsAskedASecondLater(t *testing.T) {
	n := newNet(t, 4)
	n.grow(3)
	n.round()
	for range 8 { // however often: it is no failure
		n.grow(1)
		n.clock.pass(pace / 4)
		at := n.Log.Published().N
		n.Retry()
		if err := n.Round(t.Context(), n.record, 0); err != nil || n.Log.Cosigned().N >= at {
			t.Fatalf("control: cosigned at once: %d of %d, %v", n.Log.Cosigned().N, at, err)
		}
		n.clock.pass(pace)
		if err := n.Round(t.Context(), n.record, 0); err != nil || n.Log.Cosigned().N != at {
			t.Fatalf("a second later %d of %d records are cosigned, %v", n.Log.Cosigned().N, at, err)
		}
	}
}

func TestWithoutAQuorumNothingIsCosigned(t *testing.T) {
	n := newNet(t, 4)
	n.grow(5)
	n.round()
	n.down(1)
	n.down(2)
	n.grow(5)
	n.round()
	n.clock.pass(Lag)
	n.round()
	if s := n.standing(); s.Cosigned != 5 || s.Behind < Lag || s.Size != 10 {
		t.Errorf("%+v", s)
	}
	n.up(1)
	n.round()
	if s := n.standing(); s.Cosigned != 10 || s.Have != 3 || s.Behind != 0 {
		t.Errorf("%+v", s)
	}
}

// Growth by anchors alone does not set the witnesses to work at once.
func TestAnchorsAloneWaitForAnHour(t *testing.T) {
	n := newNet(t, 4)
	n.grow(5)
	n.round()
	n.grow(2)
	round := func(anchors int64) int64 {
		n.clock.pass(time.Minute)
		if err := n.Round(t.Context(), n.record, anchors); err != nil {
			t.Fatal(err)
		}
		return n.standing().Cosigned
	}
	if got := round(2); got != 5 {
		t.Errorf("%d are cosigned", got)
	}
	if s := n.standing(); s.Behind != 0 {
		t.Errorf("%+v", s)
	}
	n.grow(1)
	if got := round(2); got != 8 { // control: one that is no anchor
		t.Errorf("%d are cosigned", got)
	}
	n.grow(1)
	if got := round(3); got != 8 {
		t.Errorf("%d are cosigned", got)
	}
	n.clock.pass(quietEvery)
	if got := round(3); got != 9 {
		t.Errorf("%d are cosigned", got)
	}
}

// Whatever a witness answers but its own signature on this checkpoint does not count.
func TestALyingWitnessDoesNotCount(t *testing.T) {
	n := newNet(t, 4)
	n.grow(9)
	n.round()
	n.grow(9)
	honest := n.stands[0]
	old := n.Log.Cosigned().Note
	own := newCosigner(n.stands[3].key, n.clock.Now)
	sign := func(s *cosigner, checkpoint []byte) []byte {
		line, err := s.signatureLine(text(checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	now := n.Log.Published().Note
	flipped := sign(own, now)
	flipped[len(flipped)-9] ^= 1
	n.down(2) // the liar would make the quorum
	for name, lie := range map[string]string{
		"nothing":                      "",
		"garbage":                      "\xff\xfe",
		"a bad signature":              string(flipped),
		"on something else":            string(sign(own, old)),
		"another witness's signature":  string(sign(newCosigner(honest.key, n.clock.Now), now)),
		"its own and another's":        string(sign(own, now)) + string(sign(newCosigner(honest.key, n.clock.Now), now)),
		"too long":                     strings.Repeat(string(sign(own, now)), 4),
		"a signature of nobody":        signaturePre + "nobody AAAAAAAA\n",
		"that it has more":             "409 1000\n",
		"that it has less":             "409 1\n",
		"what it has":                  "409 18\n",
		"an absurd size":               "409 99999999999999999999\n",
		"that the proof does not hold": "422 no\n",
		"a teapot":                     "418 short and stout\n",
		"200":                          "200 fine\n",
		"that it does not know it":     "404 who\n",
	} {
		n.wires.answer[n.peer(3)] = func(c Call, body []byte) ([]byte, error) {
			if c == Cosign {
				return []byte(lie), nil
			}
			return n.stands[3].Answer(c, body)
		}
		n.round()
		if s := n.standing(); s.Cosigned != 9 || len(s.Refused) != 1 && name != "too long" {
			t.Fatalf("%s: %+v", name, s)
		}
		if n.Log.Disowned() != nil {
			t.Fatalf("%s: a liar stopped the log", name)
		}
		delete(n.wires.answer, n.peer(3))
	}
	n.round()
	if s := n.standing(); s.Cosigned != 18 || s.Have != 3 || len(s.Refused) > 0 { // control
		t.Errorf("%+v", s)
	}
}

// A witness that was restored from an old copy, or lost all that it knew, is shown its
// own signature by the log.
func TestALogShowsAWitnessWhatItForgot(t *testing.T) {
	n := newNet(t, 4)
	nothing := n.stands[2].copied()
	n.grow(9)
	n.round()
	old := n.stands[1].copied()
	n.grow(9)
	n.round()
	if n.standing().Have != 4 {
		t.Fatalf("%+v", n.standing())
	}
	for i, store := range map[int]*copyStore{1: old, 2: nothing} {
		n.stands[i].store = store
		n.stands[i].reopen()
		n.up(i)
	}
	n.grow(9)
	n.round()
	n.round()
	if s := n.standing(); s.Have != 4 || s.Cosigned != 27 {
		t.Errorf("%+v", s)
	}
	for i, s := range n.stands {
		if forgot := i == 1 || i == 2; forgot == s.RolledBack().IsZero() {
			t.Errorf("witness %d: rolled back at %v", i+1, s.RolledBack())
		}
	}
}

// A log whose folder was restored from an old copy stops as soon as a witness shows
// it what its own key signed.
func TestARolledBackLogStops(t *testing.T) {
	for name, find := range map[string]func(n *net) error{
		"in a round": func(n *net) error {
			n.grow(1)
			return n.Round(t.Context(), n.record, 0)
		},
		"after it outgrew what it signed": func(n *net) error {
			n.grow(30)
			return n.Round(t.Context(), n.record, 0)
		},
		"asked at the start":        func(n *net) error { return n.Greet(t.Context(), n.record) },
		"from what was kept beside": func(n *net) error { return n.Log.Confront(n.kept[len(n.kept)-1]) },
	} {
		n := newNet(t, 4)
		n.grow(9)
		n.round()
		n.stop()
		saved := filepath.Join(t.TempDir(), "saved")
		if err := os.CopyFS(saved, os.DirFS(n.dir)); err != nil {
			t.Fatal(err)
		}
		n.open()
		n.grow(11)
		n.round()
		n.stop()
		if err := os.RemoveAll(n.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(n.dir, os.DirFS(saved)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(n.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.Chmod(f, 0o600); err != nil { // CopyFS goes by the umask
				t.Fatal(err)
			}
		}
		n.open()
		n.clock.pass(time.Hour)
		if err := find(n); !errors.Is(err, audit.ErrDisowned) {
			t.Fatalf("%s: %v", name, err)
		}
		size := n.Log.Published().N
		if err := n.Log.Append(t.Context(), []byte("leaf")); !errors.Is(err, audit.ErrDisowned) {
			t.Errorf("%s: a record was appended: %v", name, err)
		}
		if err := n.Round(t.Context(), n.record, 0); !errors.Is(err, audit.ErrDisowned) {
			t.Errorf("%s: the next round: %v", name, err)
		}
		n.stop()
		n.open() // nothing was signed after it was found
		if n.Log.Published().N != size {
			t.Errorf("%s: it signed %d records after it was stopped at %d", name, n.Log.Published().N, size)
		}
	}
}

func (s *stand) copied() *copyStore {
	out := &copyStore{}
	if err := s.store.Scan([]byte{}, nil, func(k, v []byte) (bool, error) {
		return true, out.put(k, v)
	}); err != nil {
		s.t.Fatal(err)
	}
	return out
}

func TestPolicies(t *testing.T) {
	network := trusttest.New(t, "net", 4)
	h := nodeHistory(t, "node").add(20, "event")
	c := h.at(20)
	signed := func(name string, which ...int) []byte {
		out := bytes.Clone(c.Note)
		for _, i := range which {
			line, err := newCosigner(trusttest.Key(fmt.Sprintf("%s validator %d witness", name, i)), func() time.Time { return trusttest.Start }).signatureLine(text(c.Note))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, line...)
		}
		return out
	}
	other := trusttest.New(t, "other", 7) // k = 5
	one, err := Policy(h.binding, network.Committee)
	if err != nil {
		t.Fatal(err)
	}
	both, err := Policy(h.binding, network.Committee, other.Committee, network.Committee)
	if err != nil {
		t.Fatal(err)
	}
	none, err := Policy(h.binding)
	if err != nil {
		t.Fatal(err)
	}
	written, err := PolicyText(h.binding, network.Committee)
	if err != nil {
		t.Fatal(err)
	}
	theirs := mustParse(t, written)
	mixed := append(signed("net", 0, 1), signed("other", 0, 1, 2)[len(c.Note):]...)
	for name, x := range map[string]struct {
		note      []byte
		one, both bool
	}{
		"the log alone":                     {c.Note, false, false},
		"two":                               {signed("net", 0, 3), false, false},
		"one of them twice":                 {signed("net", 0, 3, 3), false, false},
		"three":                             {signed("net", 0, 3, 2), true, true},
		"all":                               {signed("net", 0, 1, 2, 3), true, true},
		"too few of a larger one":           {signed("other", 0, 1, 2, 3), false, false},
		"enough of the other":               {signed("other", 0, 1, 2, 3, 6), false, true},
		"two and three of two committees":   {mixed, false, false},
		"without the log's own signature":   {append([]byte(text(c.Note)+"\n"), signed("net", 0, 1, 2)[len(c.Note):]...), false, false},
		"a witness key that signed as name": {bytes.ReplaceAll(signed("net", 0, 1, 3), []byte(Name(network.Validators[3].Witness)), []byte(Name(network.Validators[2].Witness))), false, false},
	} {
		if got := holds(x.note, one); got != x.one {
			t.Errorf("%s, one record: %v", name, got)
		}
		if got := holds(x.note, both); got != x.both {
			t.Errorf("%s, two records: %v", name, got)
		}
		if got := holds(x.note, theirs); got != x.one {
			t.Errorf("%s, as text: %v", name, got)
		}
		if holds(x.note, none) {
			t.Errorf("%s: no record, and it holds", name)
		}
	}
	otherLog := nodeHistory(t, "another").add(20, "event")
	elsewhere, err := Policy(otherLog.binding, network.Committee)
	if err != nil {
		t.Fatal(err)
	}
	if holds(signed("net", 0, 1, 2), elsewhere) {
		t.Error("the policy of another log holds")
	}
}

// An auditor trusts the id of the network and nothing else that a bundle says.
func TestABundleIsVerifiedByTheNetworksIdAlone(t *testing.T) {
	n := newNet(t, 4)
	n.grow(20)
	n.round()
	export := func(network ...[]byte) error {
		var buf bytes.Buffer
		if err := n.Log.ExportBundle(&buf, audit.Export{Checkpoint: n.Log.Cosigned(), Network: network}); err != nil {
			t.Fatal(err)
		}
		_, err := audit.VerifyBundle(&buf, audit.Check{Policy: PolicyOf(n.record.Network())})
		return err
	}
	if err := export(n.record.Raw()); err != nil {
		t.Fatal(err)
	}
	forger := trusttest.New(t, "forger", 4)
	for name, records := range map[string][][]byte{
		"no record":          nil,
		"another network":    {forger.Raw()},
		"garbage":            {[]byte("x")},
		"the record, broken": {n.record.Raw()[:len(n.record.Raw())-1]},
	} {
		if err := export(records...); err == nil {
			t.Errorf("%s is enough", name)
		}
	}
	real := trusttest.New(t, "net", 4)
	next := real.Succeed(t, func(r *trust.Record) { r.NotBefore++ })
	if err := export(real.Raw(), next.Bytes()); err != nil {
		t.Errorf("cosigned before the committee's next record: %v", err)
	}
}

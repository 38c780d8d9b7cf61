package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestGenesis(t *testing.T) {
	draft, r := trusttest.Draft(t, "net", 4)
	s := draft.Signed(t, r)
	c, err := trust.Genesis(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if c.ID() != s.ID() || c.Network() != s.ID() || !bytes.Equal(c.Raw(), s.Bytes()) {
		t.Error("the network's id is not the id of its first record")
	}
	for i, v := range r.Validators {
		if at, ok := c.ByPeer(v.Peer); !ok || at != i {
			t.Errorf("the peer of validator %d is at %d, %v", i, at, ok)
		}
		if at, ok := c.ByIdentity(v.Identity); !ok || at != i {
			t.Errorf("the identity of validator %d is at %d, %v", i, at, ok)
		}
		if _, ok := c.ByPeer(v.Signing); ok {
			t.Error("a signing key is taken for a peer key")
		}
	}
	if _, ok := c.ByIdentity(statement.ID{}); ok {
		t.Error("nobody is a validator")
	}
}

// A validator or the roots may not be counted in without their signature; whose
// is missing stands in the message.
func TestGenesisNeedsEverybody(t *testing.T) {
	net, r := trusttest.Draft(t, "net", 4)
	keys := append(slices.Clone(net.Signing), net.Roots...)
	names := []string{"validator 1", "validator 2", "validator 3", "validator 4", "1 of 1 root keys"}
	stranger := trusttest.Key("stranger")
	for missing := range keys {
		unsigned, err := trust.Draft(r)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range keys {
			if i != missing {
				unsigned.AddSignature(uint16(i), k)
			}
		}
		for what, with := range map[string]func(*statement.Statement){
			"no signature":        func(*statement.Statement) {},
			"a stranger's":        func(s *statement.Statement) { s.AddSignature(uint16(missing), stranger) },
			"another validator's": func(s *statement.Statement) { s.AddSignature(uint16(missing), keys[(missing+1)%4]) },
			"one behind the list": func(s *statement.Statement) { s.AddSignature(9, keys[missing]) },
		} {
			s, err := statement.Parse(unsigned.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			with(s)
			_, err = trust.Genesis(s.Bytes())
			if want := "missing: [" + names[missing] + "]"; !errors.Is(err, trust.ErrRecord) || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s for %s: %v", what, names[missing], err)
			}
		}
		unsigned.AddSignature(uint16(missing), keys[missing])
		if _, err := trust.Genesis(unsigned.Bytes()); err != nil {
			t.Errorf("control: with all signatures: %v", err)
		}
	}
}

func TestGenesisNeedsTheRootThreshold(t *testing.T) {
	net, r := trusttest.Draft(t, "net", 1)
	for i := range 4 {
		k := trusttest.Key(fmt.Sprint("more root ", i))
		net.Roots = append(net.Roots, k)
		r.RootKeys = append(r.RootKeys, k.Public())
	}
	r.RootThreshold = 3
	for n := range 6 {
		s, err := statement.Sign(trust.KindRecord, r, append(slices.Clone(net.Signing), net.Roots[:n]...)...)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trust.Genesis(s.Bytes())
		if n >= 3 && err != nil {
			t.Errorf("%d root keys: %v", n, err)
		}
		if n < 3 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%d of 3 root keys", 3-n))) {
			t.Errorf("%d root keys: %v", n, err)
		}
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	const genesis, name, roots, time = "not a genesis", "1 to 64 bytes, all printable", "1 to 16 root keys", "it must expire"
	for _, c := range []struct {
		name, want string
		change     func(r *trust.Record)
	}{
		{"control", "", func(*trust.Record) {}},
		{"the longest name", "", func(r *trust.Record) { r.Name = strings.Repeat("é", 32) }},
		{"a second version", genesis, func(r *trust.Record) { r.Version = 2 }},
		{"version 0", genesis, func(r *trust.Record) { r.Version = 0 }},
		{"a root epoch", genesis, func(r *trust.Record) { r.RootEpoch = 1 }},
		{"a predecessor", genesis, func(r *trust.Record) { r.Previous = []byte{1} }},
		{"an oldest record", genesis, func(r *trust.Record) { r.Oldest = []byte{1} }},
		{"a skip", genesis, func(r *trust.Record) { r.Skip = true }},
		{"unsafe numbers", "t >= 2f+1", func(r *trust.Record) { r.Numbers.T = 2 }},
		{"a validator fewer than n", "n is 4, but 3", func(r *trust.Record) { r.Validators = r.Validators[:3] }},
		{"a validator more than n", "n is 4, but 5", func(r *trust.Record) { r.Validators = append(r.Validators, r.Validators[0]) }},
		{"no name", name, func(r *trust.Record) { r.Name = "" }},
		{"a long name", name, func(r *trust.Record) { r.Name = strings.Repeat("x", 65) }},
		{"a name that moves the cursor", name, func(r *trust.Record) { r.Name = "net\x1b[2K" }},
		{"a name of two lines", name, func(r *trust.Record) { r.Name = "net\nwork" }},
		{"a name that turns around", name, func(r *trust.Record) { r.Name = "net\u202ekrow" }},
		{"no root key", roots, func(r *trust.Record) { r.RootKeys = nil }},
		{"no root threshold", roots, func(r *trust.Record) { r.RootThreshold = 0 }},
		{"a root threshold over the keys", roots, func(r *trust.Record) { r.RootThreshold = 2 }},
		{"too many root keys", roots, func(r *trust.Record) {
			for i := range trust.MaxRootKeys {
				r.RootKeys = append(r.RootKeys, trusttest.Key(fmt.Sprint("root ", i)).Public())
			}
		}},
		{"no expiry", time, func(r *trust.Record) { r.Expires = 0 }},
		{"an expiry at its beginning", time, func(r *trust.Record) { r.Expires = r.NotBefore }},
		{"91 days", time, func(r *trust.Record) { r.Expires++ }},
		{"all of time", time, func(r *trust.Record) { r.NotBefore, r.Expires = math.MinInt64, math.MaxInt64 }}, // the difference overflows
		{"half of time", time, func(r *trust.Record) { r.NotBefore, r.Expires = -1, math.MaxInt64 }},
		{"one person as two validators", "one identity is two", func(r *trust.Record) { r.Validators[1].Identity = r.Validators[0].Identity }},
		{"nobody as a validator", "one identity is two", func(r *trust.Record) { r.Validators[1].Identity = statement.ID{} }},
		{"two shares for one recipient", "one recipient", func(r *trust.Record) { r.Validators[3].Recipient = r.Validators[0].Recipient }},
		{"a classic recipient", "hybrid recipient", func(r *trust.Record) { r.Validators[2].Recipient = "age1qqqqq" }},
		{"no recipient", "hybrid recipient", func(r *trust.Record) { r.Validators[2].Recipient = "" }},
		{"a long recipient", "hybrid recipient", func(r *trust.Record) { r.Validators[2].Recipient += strings.Repeat("q", 4096) }},
		{"too many addresses", "addresses", func(r *trust.Record) { r.Validators[2].Addresses = make([]string, trust.MaxAddresses+1) }},
		{"a long address", "addresses", func(r *trust.Record) { r.Validators[2].Addresses = []string{strings.Repeat("x", 257)} }},
	} {
		net, r := trusttest.Draft(t, "net", 4)
		c.change(&r)
		_, err := trust.Genesis(net.Signed(t, r).Bytes())
		_, draftErr := trust.Draft(r)
		for _, err := range []error{err, draftErr} {
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s: %v", c.name, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
	}
}

// A key counts once, by its bytes: no two places of a record may hold one key,
// or one person would be two validators, or a validator its own root.
func TestAKeyInTwoPlaces(t *testing.T) {
	places := func(r *trust.Record) (out []*statement.PublicKey) {
		for i := range r.Validators {
			v := &r.Validators[i]
			out = append(out, &v.Signing, &v.Peer, &v.Log, &v.Witness)
		}
		for i := range r.RootKeys {
			out = append(out, &r.RootKeys[i])
		}
		return out
	}
	_, r := trusttest.Draft(t, "net", 2)
	r.RootKeys = append(r.RootKeys, trusttest.Key("second root").Public())
	if _, err := trust.Draft(r); err != nil {
		t.Fatal("control:", err)
	}
	all := places(&r)
	for i, p := range all {
		kept := *p
		for j := range all {
			if i == j {
				continue
			}
			*p = *all[j]
			if _, err := trust.Draft(r); !errors.Is(err, trust.ErrRecord) || !strings.Contains(err.Error(), "two places") {
				t.Errorf("the key of place %d in place %d: %v", j, i, err)
			}
		}
		*p = statement.PublicKey{}
		if _, err := trust.Draft(r); !errors.Is(err, trust.ErrRecord) {
			t.Errorf("no key in place %d: %v", i, err)
		}
		*p = kept
	}
}

func TestARecordOfAnotherKind(t *testing.T) {
	net, r := trusttest.Draft(t, "net", 1)
	s, err := statement.Sign("grant", r, append(net.Signing, net.Roots...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Genesis(s.Bytes()); !errors.Is(err, statement.ErrKind) || !errors.Is(err, trust.ErrRecord) {
		t.Error(err)
	}
	if _, err := trust.Genesis([]byte("record")); !errors.Is(err, statement.ErrMalformed) || !errors.Is(err, trust.ErrRecord) {
		t.Error(err)
	}
	if missing := trust.Missing(s, &r); len(missing) != 2 {
		t.Errorf("signatures of another kind count; missing: %v", missing)
	}
}

func TestARecordLivesFromItsBeginningToItsEnd(t *testing.T) {
	net := trusttest.New(t, "net", 1)
	end := trusttest.Start.Add(trust.Lifetime)
	for at, want := range map[time.Time]error{
		trusttest.Start.Add(-time.Nanosecond): trust.ErrExpired,
		trusttest.Start:                       nil,
		end.Add(-time.Nanosecond):             nil,
		end:                                   trust.ErrExpired,
		end.Add(24 * time.Hour):               trust.ErrExpired,
		{}:                                    trust.ErrExpired,
	} {
		if err := net.Live(at); !errors.Is(err, want) {
			t.Errorf("at %v: %v", at, err)
		}
	}
}

// IA-06 and CA-01: fewer than k, one validator twice, unknown ones, junk.
func TestVerifyK(t *testing.T) {
	net := trusttest.New(t, "net", 7) // k = 5
	stranger := trusttest.Key("stranger")
	at := func(s *statement.Statement, index uint16, k statement.PrivateKey) { s.AddSignature(index, k) }
	for _, c := range []struct {
		name string
		want bool
		sign func(s *statement.Statement)
	}{
		{"k", true, func(s *statement.Statement) { net.Sign(s, 0, 1, 2, 3, 4) }},
		{"the last k", true, func(s *statement.Statement) { net.Sign(s, 2, 3, 4, 5, 6) }},
		{"all", true, func(s *statement.Statement) { net.Sign(s, 0, 1, 2, 3, 4, 5, 6) }},
		{"junk after k", true, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3, 4), 6, stranger) }},
		{"an unknown one after k", true, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3, 4), 600, stranger) }},
		{"none", false, func(*statement.Statement) {}},
		{"k-1", false, func(s *statement.Statement) { net.Sign(s, 0, 1, 2, 3) }},
		{"k-1 and one again under another index", false, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3), 4, net.Signing[3]) }},
		{"k-1 and a stranger", false, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3), 4, stranger) }},
		{"k-1 and an unknown one", false, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3), 7, stranger) }},
		{"k-1 and a root key", false, func(s *statement.Statement) { at(net.Sign(s, 0, 1, 2, 3), 7, net.Roots[0]) }},
		{"k in each other's places", false, func(s *statement.Statement) {
			for i := range 5 {
				at(s, uint16(i), net.Signing[(i+1)%5])
			}
		}},
		{"more than there are validators", false, func(s *statement.Statement) {
			net.Sign(s, 0, 1, 2, 3, 4, 5, 6)
			at(s, 7, stranger)
		}},
	} {
		s, err := statement.New("test", "body")
		if err != nil {
			t.Fatal(err)
		}
		c.sign(s)
		if err := net.VerifyK("test", s); (err == nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := net.VerifyK("other", s); !errors.Is(err, statement.ErrKind) {
			t.Errorf("%s, as another kind: %v", c.name, err)
		}
	}
}

// A list with one validator's signature twice does not even decode.
func TestOneValidatorsSignatureTwice(t *testing.T) {
	type wire struct {
		_       struct{} `cbor:",toarray"`
		Type    string
		Payload []byte
		Sigs    []statement.Signature
	}
	net := trusttest.New(t, "net", 4)
	s, err := statement.New(trust.KindMembership, "body")
	if err != nil {
		t.Fatal(err)
	}
	var w wire
	if err := statement.Unmarshal(net.Sign(s, 0, 1, 2).Bytes(), &w); err != nil {
		t.Fatal(err)
	}
	for name, sigs := range map[string][]statement.Signature{
		"repeated":   {w.Sigs[0], w.Sigs[0], w.Sigs[1]},
		"descending": {w.Sigs[0], w.Sigs[2], w.Sigs[1]},
	} {
		raw, err := statement.Marshal(wire{Type: w.Type, Payload: w.Payload, Sigs: sigs})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := statement.Parse(raw); !errors.Is(err, statement.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, err := statement.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := statement.Parse(raw); err != nil || net.VerifyK(trust.KindMembership, p) != nil {
		t.Error("control: the list as it was does not verify:", err)
	}
}

func TestVerifyOne(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	s, err := statement.New("test", "body")
	if err != nil {
		t.Fatal(err)
	}
	s.AddSignature(0, trusttest.Key("stranger")) // junk around it
	s.AddSignature(2, net.Signing[2])
	s.AddSignature(3, net.Signing[0])
	for i := -1; i <= 5; i++ {
		err := net.VerifyOne("test", s, i)
		if i == 2 && err != nil {
			t.Errorf("validator 2: %v", err)
		}
		if i != 2 && !errors.Is(err, statement.ErrSignature) {
			t.Errorf("validator %d: %v", i, err)
		}
	}
	if err := net.VerifyOne("other", s, 2); err == nil {
		t.Error("it counts for another kind")
	}
}

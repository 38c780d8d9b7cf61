package trust_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var now = trusttest.Start.Add(time.Hour)

var carol = trusttest.Key("carol peer").Public()

func membership(net *trusttest.Network) trust.Membership {
	return trust.Membership{
		Network: net.Network(), Record: net.ID(), Peer: carol, Identity: statement.Hash("carol"), Role: trust.RoleNode,
		NotBefore: trusttest.Start.Unix(), Expires: trusttest.Start.Add(24 * time.Hour).Unix(), Nonce: [16]byte{1},
	}
}

func signed(t testing.TB, net *trusttest.Network, kind statement.Kind, body any, validators ...int) []byte {
	t.Helper()
	s, err := statement.New(kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return net.Sign(s, validators...).Bytes()
}

func TestMemberships(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	const network, peer, expired, role, signature = "another network", "another peer", "expired", "unknown role", "do not verify"
	quorum := []int{0, 1, 2}
	for _, c := range []struct {
		name, want string
		change     func(m *trust.Membership)
		signers    []int
	}{
		{"control", "", func(*trust.Membership) {}, quorum},
		{"to the committee's own end", "", func(m *trust.Membership) { m.Expires = net.Expires }, quorum},
		{"another network's", network, func(m *trust.Membership) { m.Network = other.Network() }, quorum},
		{"another record's", network, func(m *trust.Membership) { m.Record = other.ID() }, quorum},
		{"another peer's", peer, func(m *trust.Membership) { m.Peer = trusttest.Key("dave").Public() }, quorum},
		{"from later on", "not valid yet", func(m *trust.Membership) { m.NotBefore = now.Unix() + 1 }, quorum},
		{"until now", expired, func(m *trust.Membership) { m.Expires = now.Unix() }, quorum},
		{"without an end", expired, func(m *trust.Membership) { m.Expires = 0 }, quorum},
		{"beyond the committee's end", expired, func(m *trust.Membership) { m.Expires = net.Expires + 1 }, quorum},
		{"without a role", role, func(m *trust.Membership) { m.Role = 0 }, quorum},
		{"with role 6", role, func(m *trust.Membership) { m.Role = trust.RoleMirror + 1 }, quorum},
		{"signed by nobody", signature, func(*trust.Membership) {}, nil},
		{"signed by k-1", signature, func(*trust.Membership) {}, quorum[:2]},
	} {
		m := membership(net)
		c.change(&m)
		got, err := net.VerifyMembership(signed(t, net, trust.KindMembership, m, c.signers...), carol, now)
		switch {
		case c.want == "" && (err != nil || *got != m):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.Is(err, trust.ErrMembership) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// What is cheap comes first: nobody has signed this, and the peer is named.
	m := membership(net)
	m.Peer = trusttest.Key("dave").Public()
	if _, err := net.VerifyMembership(signed(t, net, trust.KindMembership, m), carol, now); err == nil || !strings.Contains(err.Error(), peer) {
		t.Errorf("an unsigned credential of another peer: %v", err)
	}
}

// CA-11: what validators sign as one thing is nothing else.
func TestAMembershipIsOfOneKind(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	for _, kind := range []statement.Kind{"grant", trust.KindRecord, "ack"} {
		if _, err := net.VerifyMembership(signed(t, net, kind, membership(net), 0, 1, 2), carol, now); !errors.Is(err, trust.ErrMembership) || !errors.Is(err, statement.ErrKind) {
			t.Errorf("signed as a %s: %v", kind, err)
		}
	}
	if _, err := net.VerifyMembership(nil, carol, now); !errors.Is(err, trust.ErrMembership) {
		t.Errorf("no credential: %v", err)
	}
}

// IA-06: validators sign bytes, so the same fields in other bytes are not signed,
// and other bytes that were signed are not read.
func TestAReencodedMembership(t *testing.T) {
	type wire struct {
		_       struct{} `cbor:",toarray"`
		Type    string
		Payload []byte
		Sigs    []statement.Signature
	}
	net := trusttest.New(t, "net", 4)
	var w wire
	if err := statement.Unmarshal(signed(t, net, trust.KindMembership, membership(net), 0, 1, 2), &w); err != nil {
		t.Fatal(err)
	}
	payload := w.Payload
	if payload[0] != 0x88 {
		t.Fatalf("control: a membership is an array of eight, not %x", payload[0])
	}
	w.Payload = append([]byte{0x98, 8}, payload[1:]...) // the length in two bytes
	raw, err := statement.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.VerifyMembership(raw, carol, now); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("re-encoded: %v", err)
	}
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if net.VerifyK(trust.KindMembership, s) == nil {
		t.Error("the old signatures hold for the new bytes")
	}
	s.Prune("none", nil)
	if _, err := net.VerifyMembership(net.Sign(s, 0, 1, 2).Bytes(), carol, now); !errors.Is(err, statement.ErrMalformed) {
		t.Errorf("re-encoded and signed so: %v", err)
	}
}

func TestWhoIsAdmitted(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	late := trusttest.Start.Add(trust.Lifetime)
	credential := func(change func(m *trust.Membership)) []byte {
		m := membership(net)
		change(&m)
		return signed(t, net, trust.KindMembership, m, 0, 1, 2)
	}
	honest := credential(func(*trust.Membership) {})
	validator := net.Validators[2].Peer
	for _, c := range []struct {
		name       string
		peer       statement.PublicKey
		credential []byte
		at         time.Time
		want       trust.Role // 0: refused
	}{
		{"a member", carol, honest, now, trust.RoleNode},
		{"a mirror", carol, credential(func(m *trust.Membership) { m.Role = trust.RoleMirror }), now, trust.RoleMirror},
		{"a validator with nothing to show", validator, nil, now, trust.RoleValidator},
		{"a validator after the record's end", validator, nil, late, trust.RoleValidator}, // the network can wake
		{"a validator with another's credential", validator, honest, now, trust.RoleValidator},
		{"a stranger", trusttest.Key("stranger").Public(), nil, now, 0},
		{"a stranger with a member's credential", trusttest.Key("stranger").Public(), honest, now, 0},
		{"a validator's signing key", net.Validators[2].Signing, nil, now, 0},
		{"a member after the record's end", carol, honest, late, 0},
		{"a member before the record's beginning", carol, honest, trusttest.Start.Add(-time.Second), 0},
		{"a member by a credential for validators", carol, credential(func(m *trust.Membership) { m.Role = trust.RoleValidator }), now, 0},
	} {
		got, err := net.Admits(c.peer, c.credential, c.at)
		if got != c.want || (err == nil) != (c.want != 0) || err != nil && !errors.Is(err, trust.ErrMembership) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	if _, err := net.Admits(carol, honest, late); !errors.Is(err, trust.ErrExpired) {
		t.Errorf("after the record's end: %v", err)
	}
}

func TestRolesHaveNames(t *testing.T) {
	names := map[string]bool{}
	for r := trust.RoleNode; r <= trust.RoleMirror; r++ {
		names[r.String()] = true
	}
	if len(names) != 5 || names["unknown"] || trust.Role(0).String() != "unknown" || trust.Role(6).String() != "unknown" {
		t.Errorf("roles are called %v", names)
	}
}

package trust_test

import (
	"errors"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// TestDraftsThatNoValidatorSigns: a peer gets what it may have, for as long as it
// may, and nothing else.
func TestDraftsThatNoValidatorSigns(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	want, nonce := trust.Member{Peer: carol, Identity: statement.Hash("carol"), Role: trust.RoleNode}, [16]byte{7}
	s, err := net.DraftMembership(want, nonce, now)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := net.ReadDraft(net.Sign(s, 0).Bytes(), want, nonce, now); err != nil || out.ID() != s.ID() || len(out.Signers()) != 0 {
		t.Fatalf("control: %v", err)
	}
	if _, err := net.VerifyMembership(net.Sign(s, 0, 1, 2).Bytes(), carol, now); err != nil {
		t.Fatalf("control: a signed draft is a membership: %v", err)
	}
	late := time.Unix(net.Expires, 0).Add(-time.Hour) // the record ends before the membership would
	if s, err := net.DraftMembership(want, nonce, late); err != nil {
		t.Fatal(err)
	} else if _, err := net.ReadDraft(s.Bytes(), want, nonce, late); err != nil {
		t.Errorf("one to the record's end: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*trust.Membership)
		want   error
	}{
		"of another network":           {func(m *trust.Membership) { m.Network = other.Network() }, trust.ErrIssue},
		"of another record":            {func(m *trust.Membership) { m.Record = other.ID() }, trust.ErrIssue},
		"for another peer":             {func(m *trust.Membership) { m.Peer = trusttest.Key("dave").Public() }, trust.ErrIssue},
		"for another identity":         {func(m *trust.Membership) { m.Identity = statement.Hash("dave") }, trust.ErrIssue},
		"in another role":              {func(m *trust.Membership) { m.Role = trust.RoleAuditor }, trust.ErrIssue},
		"by another invitation":        {func(m *trust.Membership) { m.Nonce = [16]byte{8} }, trust.ErrIssue},
		"a day ahead":                  {func(m *trust.Membership) { m.NotBefore += 86400; m.Expires += 86400 }, trust.ErrClock},
		"a day behind":                 {func(m *trust.Membership) { m.NotBefore -= 86400 }, trust.ErrClock},
		"for too long":                 {func(m *trust.Membership) { m.Expires++ }, trust.ErrIssue},
		"beyond the record":            {func(m *trust.Membership) { m.Expires = net.Expires + 1 }, trust.ErrIssue},
		"that ends at its start":       {func(m *trust.Membership) { m.Expires = m.NotBefore }, trust.ErrIssue},
		"from and to the ends of time": {func(m *trust.Membership) { m.NotBefore, m.Expires = -1<<63, 1<<63-1 }, trust.ErrClock},
	} {
		var m trust.Membership
		if err := s.Peek(trust.KindMembership, &m); err != nil {
			t.Fatal(err)
		}
		c.change(&m)
		if _, err := net.ReadDraft(signed(t, net, trust.KindMembership, m), want, nonce, now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := net.ReadDraft(signed(t, net, trust.KindCard, trust.Card{}), want, nonce, now); !errors.Is(err, trust.ErrIssue) {
		t.Errorf("a statement of another kind: %v", err)
	}
	if _, err := net.ReadDraft([]byte{1}, want, nonce, now); !errors.Is(err, trust.ErrIssue) {
		t.Errorf("junk: %v", err)
	}
}

// TestRemovalsNeedMoreThanTheFaulty: F validators remove nobody, F+1 do, and a
// change of the committee brings nobody back.
func TestRemovalsNeedMoreThanTheFaulty(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	c := trust.Fixed(net.Committee)
	v := func(i ...int) (out []statement.ID) {
		for _, i := range i {
			out = append(out, net.Validators[i].Identity)
		}
		return out
	}
	for name, x := range map[string]struct {
		by   []statement.ID
		want bool
	}{
		"nobody": {nil, false}, "one": {v(1), false}, "two": {v(1, 3), true}, "one of them twice": {v(1, 1), false},
		"one and a stranger": {append(v(1), statement.Hash("stranger")), false},
	} {
		if got := c.Removed(x.by); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	next := trusttest.New(t, "next", 4)
	s := net.Succeed(t, func(r *trust.Record) { r.Validators = next.Validators }, next.Signing...)
	if _, err := c.Add(s.Bytes()); err != nil {
		t.Fatal(err)
	}
	if !c.Removed(v(1, 3)) {
		t.Error("a change of the committee brings back who was removed")
	}
	if c.Removed(append(v(1), next.Validators[0].Identity)) {
		t.Error("validators of two committees are counted together")
	}
}

package validator_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// lobby is a network with doors, and what everybody at them knows of members.
type lobby struct {
	*world
	known map[statement.PublicKey][]byte
}

func newLobby(t testing.TB) *lobby {
	t.Helper()
	return &lobby{newWorld(t, vt.Options{}), map[statement.PublicKey][]byte{}}
}

// door is a validator's, or where i is -1 a plain node's.
func (l *lobby) door(i int) *validator.Door {
	d := &validator.Door{
		Trust: l.Chain, Now: l.Clock.Now,
		Member: func(p statement.PublicKey) ([]byte, bool) { raw, ok := l.known[p]; return raw, ok },
	}
	if d.Revokers = l.Validators[0].Set.Revokers; i >= 0 {
		d.Judge, d.Revokers = l.Validators[i].Judge, l.Validators[i].Set.Revokers
	}
	return d
}

// asks sends a request to validator i, and reports whether it was owed an answer.
func (l *lobby) asks(t testing.TB, i int, peer statement.PublicKey, r validator.EnterRequest) (reply validator.EnterReply, owed bool, err error) {
	t.Helper()
	raw, err := l.door(i).Answer(t.Context(), peer, encode(t, r), func() { owed = true })
	if err != nil {
		return reply, owed, err
	}
	if err := statement.Unmarshal(raw, &reply); err != nil {
		t.Fatal(err)
	}
	return reply, owed, nil
}

// guest is who is invited.
type guest struct {
	peer   statement.PublicKey
	who    statement.ID
	invite *trust.Invite
	i      *trust.Invitation
}

func (l *lobby) invites(t testing.TB, by *vt.Person, peer string, change ...func(*trust.Invitation)) *guest {
	t.Helper()
	key, now := statement.GenerateKey(), l.Clock.Now()
	i := trust.Invitation{
		Network: l.Chain.Network(), Pin: l.Chain.Current().Pin(), Inviter: by.ID(), Key: key.Public(), Role: trust.RoleNode,
		NotBefore: now.Unix(), Expires: now.Add(24 * time.Hour).Unix(),
	}
	for _, c := range change {
		c(&i)
	}
	s, err := trust.SignInvitation(i, by.Device)
	if err != nil {
		t.Fatal(err)
	}
	return &guest{trusttest.Key(peer).Public(), statement.Hash(peer), &trust.Invite{Invitation: s.Bytes(), Inviter: by.Record(), Secret: key.Seed()}, &i}
}

func (g *guest) id(t testing.TB) statement.ID {
	t.Helper()
	s, err := statement.Parse(g.invite.Invitation)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID()
}

// shows is the request of a guest, with a draft of its membership.
func (l *lobby) shows(t testing.TB, g *guest, change ...func(*trust.Member)) validator.EnterRequest {
	t.Helper()
	redemption, err := g.invite.Redeem(g.i, g.peer, g.who)
	if err != nil {
		t.Fatal(err)
	}
	m := trust.Member{Peer: g.peer, Identity: g.who, Role: g.i.Role}
	for _, c := range change {
		c(&m)
	}
	draft, err := l.Chain.Current().DraftMembership(m, trust.MemberNonce(g.id(t)), l.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return validator.EnterRequest{Invitation: g.invite.Invitation, Inviter: g.invite.Inviter, Redemption: redemption, Draft: draft.Bytes()}
}

// combine is the membership that validators signed, and whether K did.
func (l *lobby) combine(t testing.TB, peer statement.PublicKey, signed ...[]byte) ([]byte, error) {
	t.Helper()
	var all *statement.Statement
	for _, raw := range signed {
		s, err := statement.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if all == nil {
			all = s
		} else if err := all.Merge(s); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.Chain.VerifyMembership(all.Bytes(), peer, l.Clock.Now())
	return all.Bytes(), err
}

// TestAnInvitationLetsOnePeerIn: whoever is first at enough validators has it, may
// ask again, and nobody else gets even K signatures together.
func TestAnInvitationLetsOnePeerIn(t *testing.T) {
	l := newLobby(t)
	g := l.invites(t, l.official(1), "guest")
	request := l.shows(t, g)
	var signed [][]byte
	for i := range 3 {
		for range 2 { // the same peer may ask again
			r, owed, err := l.asks(t, i, g.peer, request)
			if err != nil || !owed || r.Refusal != 0 {
				t.Fatalf("validator %d: %+v, %v", i+1, r, err)
			}
			if len(signed) == i {
				signed = append(signed, r.Signed)
			}
		}
	}
	if _, err := l.combine(t, g.peer, signed[0], signed[1]); err == nil {
		t.Error("control: k-1 signatures admit")
	}
	if _, err := l.combine(t, g.peer, signed...); err != nil {
		t.Fatal(err)
	}
	other := *g
	other.peer, other.who = trusttest.Key("other").Public(), statement.Hash("other")
	got := 0
	for i := range l.Validators {
		r, owed, err := l.asks(t, i, other.peer, l.shows(t, &other))
		if err != nil || !owed {
			t.Fatal(err)
		}
		if r.Refusal == 0 {
			got++
		} else if r.Refusal != validator.RefusedUsed || len(r.Signed) > 0 {
			t.Errorf("validator %d: %+v", i+1, r)
		}
	}
	if got != 1 { // the fourth, which nobody had asked
		t.Errorf("another peer has %d signatures", got)
	}
	thief := *g // the same peer for another identity is another redeemer
	thief.who = statement.Hash("another identity")
	if r, _, err := l.asks(t, 0, thief.peer, l.shows(t, &thief)); err != nil || r.Refusal != validator.RefusedUsed {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestARedemptionIsDurable: a validator that comes back honours nobody else.
func TestARedemptionIsDurable(t *testing.T) {
	l := newLobby(t)
	g := l.invites(t, l.official(1), "guest")
	if r, _, err := l.asks(t, 0, g.peer, l.shows(t, g)); err != nil || r.Refusal != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	j := l.Validators[0].Judge
	l.Validators[0].Judge = &validator.Judge{ // as if it was started again
		Trust: j.Trust, Peer: j.Peer, Signing: j.Signing, Opener: j.Opener, Store: j.Store, Shares: j.Shares, Log: j.Log, Set: j.Set,
		Verifier: j.Verifier, Guard: j.Guard, Policies: j.Policies, Roles: j.Roles, Book: j.Book, Audit: j.Audit, Receipts: j.Receipts, Fresh: j.Fresh, Now: j.Now, Logger: j.Logger,
	}
	other := *g
	other.peer = trusttest.Key("other").Public()
	if r, _, err := l.asks(t, 0, other.peer, l.shows(t, &other)); err != nil || r.Refusal != validator.RefusedUsed {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _, err := l.asks(t, 0, g.peer, l.shows(t, g)); err != nil || r.Refusal != 0 {
		t.Errorf("control: %+v, %v", r, err)
	}
}

// TestInvitationsOfNoUse end with a word to who was really invited, and without one
// to everybody else.
func TestInvitationsOfNoUse(t *testing.T) {
	l := newLobby(t)
	inviter := l.official(1)
	good := l.invites(t, inviter, "guest")
	control := func() {
		t.Helper()
		if r, owed, err := l.asks(t, 0, good.peer, l.shows(t, good)); err != nil || !owed || r.Refusal != 0 {
			t.Fatalf("control: %+v, %v", r, err)
		}
	}
	control()
	silent := func(name string, peer statement.PublicKey, r validator.EnterRequest) {
		t.Helper()
		if reply, owed, err := l.asks(t, 0, peer, r); err == nil || owed {
			t.Errorf("%s: it is answered %+v", name, reply)
		}
	}
	silent("by who may not invite", good.peer, l.shows(t, l.invites(t, l.mallory, "guest")))
	silent("by another peer", trusttest.Key("thief").Public(), l.shows(t, good))
	other := newWorld(t, vt.Options{Name: "other"})
	silent("of another network", good.peer, l.shows(t, l.invites(t, inviter, "guest", func(i *trust.Invitation) { i.Network = other.Network.Committee.Network() })))
	r := l.shows(t, good)
	r.Inviter = l.mallory.Record()
	silent("with another's document", good.peer, r)
	r = l.shows(t, good)
	r.Redemption = nil
	silent("that is not redeemed", good.peer, r)
	for name, change := range map[string]func(*trust.Member){
		"another role": func(m *trust.Member) { m.Role = trust.RoleAuditor }, "another peer": func(m *trust.Member) { m.Peer = trusttest.Key("another").Public() },
		"another identity": func(m *trust.Member) { m.Identity = statement.Hash("x") },
	} {
		if reply, _, err := l.asks(t, 0, good.peer, l.shows(t, good, change)); !errors.Is(err, validator.ErrMalformed) {
			t.Errorf("a draft for %s: %+v, %v", name, reply, err)
		}
	}
	if reply, owed, err := l.asks(t, -1, good.peer, l.shows(t, good)); err == nil || owed {
		t.Errorf("a plain node answers an invitation: %+v", reply)
	}

	refused := func(name string, g *guest, want validator.Refusal) {
		t.Helper()
		if reply, owed, err := l.asks(t, 0, g.peer, l.shows(t, g)); err != nil || !owed || reply.Refusal != want || len(reply.Signed) > 0 {
			t.Errorf("%s: %+v, %v", name, reply, err)
		}
	}
	revoked, byOthers := l.invites(t, inviter, "r"), l.invites(t, inviter, "o")
	if _, err := l.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: l.Revocation(t, inviter, revoked.id(t))})); err != nil {
		t.Fatal(err)
	}
	refused("a revoked one", revoked, validator.RefusedRevoked)
	for n, i := range []int{2, 3} { // more than F other validators; one is not enough
		if reply, _, err := l.asks(t, 0, byOthers.peer, l.shows(t, byOthers)); err != nil || reply.Refusal != 0 {
			t.Errorf("after %d of two revocations: %+v, %v", n, reply, err)
		}
		if _, err := l.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: l.Revocation(t, l.official(i), byOthers.id(t))})); err != nil {
			t.Fatal(err)
		}
	}
	refused("one that validators revoked", byOthers, validator.RefusedRevoked)
	early := l.invites(t, inviter, "e", func(i *trust.Invitation) { i.NotBefore += 3600 })
	refused("an early one", early, validator.RefusedExpired)
	control()
	l.Clock.Advance(24 * time.Hour)
	l.Hear(t)
	refused("an expired one", good, validator.RefusedExpired)
	refused("an expired one, again", good, validator.RefusedExpired)
	rules := map[string]int{}
	for _, e := range l.Validators[0].Events(t) {
		if e.Action == event.Admit && e.Outcome == event.Denied {
			rules[e.Rule]++
		}
	}
	if rules["invitation-revoked"] != 2 || rules["invitation-expired"] != 2 || len(rules) != 2 { // each once
		t.Errorf("the log has the denials %v", rules)
	}
}

// rolesOf says which roles an identity has.
type rolesOf func(statement.ID) []string

func (r rolesOf) Roles(who statement.ID, _ time.Time) []string { return r(who) }

// TestAnInviterByRole loses its open invitations with the role.
func TestAnInviterByRole(t *testing.T) {
	l := newLobby(t)
	role := validator.RoleInviter
	l.Validators[0].Roles = rolesOf(func(id statement.ID) []string {
		if id == l.bob.ID() {
			return []string{role}
		}
		return nil
	})
	g := l.invites(t, l.bob, "guest")
	if r, owed, err := l.asks(t, 0, g.peer, l.shows(t, g)); err != nil || !owed || r.Refusal != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	withdraw := func(by *vt.Person, invitation []byte) error {
		_, err := l.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: l.Revocation(t, by, g.id(t)), Invited: invitation}))
		return err
	}
	wantErr(t, withdraw(l.mallory, g.invite.Invitation), validator.ErrDenied)
	wantErr(t, withdraw(l.bob, nil), validator.ErrDenied)
	wantErr(t, withdraw(l.bob, l.invites(t, l.bob, "another").invite.Invitation), validator.ErrDenied)
	role = "gone"
	if _, owed, err := l.asks(t, 0, g.peer, l.shows(t, g)); err == nil || owed {
		t.Error("who lost the role invites still")
	}
	wantErr(t, withdraw(l.bob, g.invite.Invitation), validator.ErrDenied) // it ended with the role
	role = validator.RoleInviter
	wantErr(t, withdraw(l.bob, g.invite.Invitation), nil)
	if r, _, err := l.asks(t, 0, g.peer, l.shows(t, g)); err != nil || r.Refusal != validator.RefusedRevoked {
		t.Errorf("%+v, %v", r, err)
	}
}

// member makes a membership of a guest that is over by now.
func (l *lobby) member(t testing.TB, g *guest, role trust.Role) []byte {
	t.Helper()
	s, err := l.Chain.Current().DraftMembership(trust.Member{Peer: g.peer, Identity: g.who, Role: role}, [16]byte{1}, l.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range l.Validators[:3] {
		s.AddSignature(uint16(i), v.Signing)
	}
	l.Clock.Advance(trust.MembershipLifetime + time.Hour)
	l.Hear(t)
	return s.Bytes()
}

func (l *lobby) renewal(t testing.TB, g *guest, shown []byte) validator.EnterRequest {
	t.Helper()
	draft, err := l.Chain.Current().DraftMembership(trust.Member{Peer: g.peer, Identity: g.who, Role: trust.RoleNode}, [16]byte{1}, l.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	return validator.EnterRequest{Membership: shown, Draft: draft.Bytes()}
}

// TestAMembershipThatIsOverIsRenewed for its own peer, in its own role, and for
// nobody who was removed.
func TestAMembershipThatIsOverIsRenewed(t *testing.T) {
	l := newLobby(t)
	g := &guest{peer: trusttest.Key("guest").Public(), who: statement.Hash("guest")}
	old := l.member(t, g, trust.RoleNode)
	if _, err := l.Chain.VerifyMembership(old, g.peer, l.Clock.Now()); err == nil {
		t.Fatal("control: it is not over")
	}
	request := l.renewal(t, g, old)
	var signed [][]byte
	for i := range 3 {
		r, owed, err := l.asks(t, i, g.peer, request)
		if err != nil || !owed || r.Refusal != 0 {
			t.Fatalf("validator %d: %+v, %v", i+1, r, err)
		}
		signed = append(signed, r.Signed)
	}
	if _, err := l.combine(t, g.peer, signed...); err != nil {
		t.Error(err)
	}
	l.known[g.peer] = old // what it lost itself, others know
	if r, owed, err := l.asks(t, 0, g.peer, l.renewal(t, g, nil)); err != nil || !owed || r.Refusal != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, owed, err := l.asks(t, -1, g.peer, request); err != nil || !owed || r.Refusal != validator.RefusedLater {
		t.Errorf("a plain node: %+v, %v", r, err)
	}
	delete(l.known, g.peer)
	stranger := trusttest.Key("stranger").Public()
	forged := slices.Clone(old)
	forged[len(forged)-1] ^= 1
	unsigned, err := statement.Parse(request.Draft)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string][]byte{"nothing": nil, "another's": old, "a forged one": forged, "an unsigned one": unsigned.Bytes(), "junk": {1}} {
		peer := g.peer
		if name == "another's" {
			peer = stranger
		}
		if r, owed, err := l.asks(t, 0, peer, validator.EnterRequest{Membership: shown, Draft: request.Draft}); err == nil || owed {
			t.Errorf("%s is renewed: %+v", name, r)
		}
	}
	late := validator.EnterRequest{Membership: old, Draft: request.Draft}
	l.Clock.Advance(time.Hour)
	l.Hear(t)
	if r, _, err := l.asks(t, 0, g.peer, late); err != nil || r.Refusal != validator.RefusedClock {
		t.Errorf("with a clock that is an hour behind: %+v, %v", r, err)
	}
	target := trust.Removal(l.Chain.Network(), g.peer)
	for _, i := range []int{1, 2} {
		if _, err := l.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: l.Revocation(t, l.official(i), target)})); err != nil {
			t.Fatal(err)
		}
		_, owed, err := l.asks(t, 0, g.peer, l.renewal(t, g, old))
		if want := i == 1; owed != want || (err == nil) != want {
			t.Errorf("after %d removals it is owed an answer: %v, %v", i, owed, err)
		}
	}
	if _, err := l.Validators[0].Revoke(t.Context(), validator.Conn{}, encode(t, validator.RevokeRequest{Entry: l.Revocation(t, l.mallory, target)})); !errors.Is(err, validator.ErrDenied) {
		t.Errorf("anybody removes a member: %v", err)
	}
}

// TestADoorThatSignsNothing: a validator that may not know who was removed gives
// no signature, but records.
func TestADoorThatSignsNothing(t *testing.T) {
	l := newLobby(t)
	g := &guest{peer: trusttest.Key("guest").Public(), who: statement.Hash("guest")}
	old := l.member(t, g, trust.RoleNode)
	l.Clock.Advance(time.Hour) // nobody heard since
	request := l.renewal(t, g, old)
	if r, owed, err := l.asks(t, 0, g.peer, request); err != nil || !owed || r.Refusal != validator.RefusedLater {
		t.Errorf("%+v, %v", r, err)
	}
	if r, _, err := l.asks(t, 0, g.peer, validator.EnterRequest{Membership: old}); err != nil || len(r.Records) != 1 {
		t.Errorf("%d records, %v", len(r.Records), err)
	}
	l.Hear(t)
	if r, _, err := l.asks(t, 0, g.peer, request); err != nil || r.Refusal != 0 {
		t.Errorf("control: %+v, %v", r, err)
	}
}

// TestRecordsComeInPages to who was a member, from the beginning or from what it
// has, and end with what is known of it.
func TestRecordsComeInPages(t *testing.T) {
	l := newLobby(t)
	g := &guest{peer: trusttest.Key("guest").Public(), who: statement.Hash("guest")}
	old := l.member(t, g, trust.RoleNode)
	l.known[g.peer] = old
	for _, i := range []int{0, -1} {
		r, owed, err := l.asks(t, i, g.peer, validator.EnterRequest{})
		if err != nil || !owed || len(r.Records) != 1 || len(r.Member) > 0 {
			t.Fatalf("%d records, %v", len(r.Records), err)
		}
		r, _, err = l.asks(t, i, g.peer, validator.EnterRequest{After: l.Chain.Current().ID()})
		if err != nil || len(r.Records) != 0 || !slices.Equal(r.Member, old) {
			t.Errorf("at the end: %d records, %v", len(r.Records), err)
		}
		if _, owed, err := l.asks(t, i, trusttest.Key("stranger").Public(), validator.EnterRequest{}); err == nil || owed {
			t.Error("a stranger is told of records")
		}
	}
}

func FuzzEnter(f *testing.F) {
	l := newLobby(f)
	g := l.invites(f, l.official(1), "guest")
	request := l.shows(f, g)
	f.Add(encode(f, request))
	f.Add(encode(f, l.renewal(f, g, l.member(f, g, trust.RoleNode))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		owed := false
		_, err := l.door(0).Answer(t.Context(), g.peer, raw, func() { owed = true })
		var r validator.EnterRequest
		if statement.Unmarshal(raw, &r) != nil && (!errors.Is(err, validator.ErrMalformed) || owed) {
			t.Errorf("what is no request is answered with %v", err)
		}
		if err == nil && !owed {
			t.Error("who is owed nothing is answered")
		}
	})
}

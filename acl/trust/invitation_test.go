package trust_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// invite makes an invite by a person, changed before it is signed.
func invite(t testing.TB, net *trusttest.Network, by *trusttest.Person, change func(*trust.Invitation)) *trust.Invite {
	t.Helper()
	key := trusttest.Key("the invitation")
	i := trust.Invitation{
		Network: net.Network(), Pin: net.Pin(), Inviter: by.ID(), Key: key.Public(), Role: trust.RoleNode, Name: "carol",
		NotBefore: now.Unix(), Expires: now.Add(24 * time.Hour).Unix(),
	}
	if change != nil {
		change(&i)
	}
	s, err := identity.Sign(trust.KindInvitation, i, by.Devices[0]) // unlike SignInvitation, whatever it says
	if err != nil {
		t.Fatal(err)
	}
	return &trust.Invite{
		Format: trust.InviteFormat, Invitation: s.Bytes(), Inviter: by.Record(), Network: "net", Secret: key.Seed(),
		Validators: []trust.Reach{{Peer: net.Validators[0].Peer, Addresses: net.Validators[0].Addresses}},
	}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := statement.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestInvitesThatAreRefused: what is wrong with an invite is found before anybody
// is dialled.
func TestInvitesThatAreRefused(t *testing.T) {
	net, ada, ben := trusttest.New(t, "net", 4), trusttest.NewPerson(t, "ada", identity.User), trusttest.NewPerson(t, "ben", identity.User)
	if _, i, err := trust.ParseInvite(marshal(t, invite(t, net, ada, nil))); err != nil || i.Name != "carol" {
		t.Fatalf("control: %v", err)
	}
	for name, change := range map[string]func(*trust.Invitation){
		"no role":          func(i *trust.Invitation) { i.Role = 0 },
		"role 6":           func(i *trust.Invitation) { i.Role = trust.RoleMirror + 1 },
		"a validator":      func(i *trust.Invitation) { i.Role = trust.RoleValidator },
		"a long name":      func(i *trust.Invitation) { i.Name = strings.Repeat("n", 65) },
		"a name of bells":  func(i *trust.Invitation) { i.Name = "\a" },
		"no time":          func(i *trust.Invitation) { i.Expires = i.NotBefore },
		"open for a month": func(i *trust.Invitation) { i.Expires = i.NotBefore + 30*86400 + 1 },
		"open for ever":    func(i *trust.Invitation) { i.NotBefore, i.Expires = -1<<62, 1<<62 },
		"no inviter":       func(i *trust.Invitation) { i.Inviter = statement.ID{} },
		"another inviter":  func(i *trust.Invitation) { i.Inviter = ben.ID() },
		"no key":           func(i *trust.Invitation) { i.Key = statement.PublicKey{} },
		"another key":      func(i *trust.Invitation) { i.Key = trusttest.Key("another").Public() },
	} {
		if _, _, err := trust.ParseInvite(marshal(t, invite(t, net, ada, change))); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	for name, change := range map[string]func(*trust.Invite){
		"another format":       func(v *trust.Invite) { v.Format = 2 },
		"no validators":        func(v *trust.Invite) { v.Validators = nil },
		"too many addresses":   func(v *trust.Invite) { v.Validators[0].Addresses = make([]string, trust.MaxAddresses+1) },
		"another secret":       func(v *trust.Invite) { v.Secret = trusttest.Key("another").Seed() },
		"a short secret":       func(v *trust.Invite) { v.Secret = v.Secret[:31] },
		"another's document":   func(v *trust.Invite) { v.Inviter = ben.Record() },
		"a document of junk":   func(v *trust.Invite) { v.Inviter = []byte{1} },
		"a changed invitation": func(v *trust.Invite) { v.Invitation[len(v.Invitation)-100] ^= 1 },
		"no invitation":        func(v *trust.Invite) { v.Invitation = nil },
	} {
		v := invite(t, net, ada, nil)
		change(v)
		if _, _, err := trust.ParseInvite(marshal(t, v)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, _, err := trust.ParseInvite(make([]byte, trust.MaxInvite+1)); err == nil {
		t.Error("an invite of any size is taken")
	}
}

// TestRedemptionsThatAreRefused: whoever sees a redemption on its way can use it
// for nobody else.
func TestRedemptionsThatAreRefused(t *testing.T) {
	net, other, ada := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4), trusttest.NewPerson(t, "ada", identity.User)
	v, i, err := trust.ParseInvite(marshal(t, invite(t, net, ada, nil)))
	if err != nil {
		t.Fatal(err)
	}
	who := statement.Hash("carol")
	good, err := v.Redeem(i, carol, who)
	if err != nil {
		t.Fatal(err)
	}
	if got, s, r, err := trust.VerifyRedemption(v.Invitation, good, net.Network(), carol); err != nil || got.Name != "carol" || r.Identity != who || r.Invitation != s.ID() {
		t.Fatalf("control: %v", err)
	}
	second := invite(t, net, ada, func(i *trust.Invitation) { i.Name = "second" })
	byAnother, err := statement.Sign(trust.KindRedemption, trust.Redemption{
		Network: net.Network(), Invitation: parse(t, v.Invitation).ID(), Peer: carol, Identity: who,
	}, trusttest.Key("thief"))
	if err != nil {
		t.Fatal(err)
	}
	ofNobody, err := v.Redeem(i, carol, statement.ID{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		invitation, redemption []byte
		network                statement.ID
		peer                   statement.PublicKey
	}{
		"by another peer":       {v.Invitation, good, net.Network(), trusttest.Key("thief").Public()},
		"in another network":    {v.Invitation, good, other.Network(), carol},
		"of another invitation": {second.Invitation, good, net.Network(), carol},
		"signed by another key": {v.Invitation, byAnother.Bytes(), net.Network(), carol},
		"for no identity":       {v.Invitation, ofNobody, net.Network(), carol},
		"an invitation for it":  {v.Invitation, v.Invitation, net.Network(), carol},
		"a redemption as such":  {good, good, net.Network(), carol},
		"junk":                  {v.Invitation, []byte{1}, net.Network(), carol},
		"an invitation of junk": {[]byte{1}, good, net.Network(), carol},
		"an invitation of no use": {
			invite(t, net, ada, func(i *trust.Invitation) { i.Role = trust.RoleValidator }).Invitation, good, net.Network(), carol,
		},
	} {
		if _, _, _, err := trust.VerifyRedemption(c.invitation, c.redemption, c.network, c.peer); !errors.Is(err, trust.ErrInvitation) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func parse(t testing.TB, raw []byte) *statement.Statement {
	t.Helper()
	s, err := statement.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnInvitationLivesFromItsBeginningToItsEnd(t *testing.T) {
	i := trust.Invitation{NotBefore: now.Unix(), Expires: now.Unix() + 10}
	for at, want := range map[int64]bool{-1: false, 0: true, 9: true, 10: false} {
		if err := i.Live(time.Unix(now.Unix()+at, 0)); (err == nil) != want {
			t.Errorf("%d s after its beginning: %v", at, err)
		}
	}
}

func TestSignInvitationSignsNothingUseless(t *testing.T) {
	ada := trusttest.NewPerson(t, "ada", identity.User)
	if _, err := trust.SignInvitation(trust.Invitation{Role: trust.RoleValidator}, ada.Devices[0]); !errors.Is(err, trust.ErrInvitation) {
		t.Errorf("%v", err)
	}
}

func TestRemovalsAreOfOnePeerInOneNetwork(t *testing.T) {
	net, other := statement.Hash("net"), statement.Hash("other")
	dave := trusttest.Key("dave").Public()
	if a := trust.Removal(net, carol); a == trust.Removal(net, dave) || a == trust.Removal(other, carol) || a != trust.Removal(net, carol) {
		t.Error("removals are mixed up")
	}
}

func FuzzParseInvite(f *testing.F) {
	net, ada := trusttest.New(f, "net", 4), trusttest.NewPerson(f, "ada", identity.User)
	f.Add(marshal(f, invite(f, net, ada, nil)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, i, err := trust.ParseInvite(raw)
		if err != nil {
			return
		}
		if again := marshal(t, v); !bytes.Equal(again, raw) {
			t.Error("it does not come back")
		}
		redemption, err := v.Redeem(i, carol, statement.Hash("carol"))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := trust.VerifyRedemption(v.Invitation, redemption, i.Network, carol); err != nil {
			t.Errorf("what was parsed cannot be redeemed: %v", err)
		}
	})
}

package policy_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var ann, bob = statement.Hash("test", []byte("ann")), statement.Hash("test", []byte("bob"))

func assignment(net *trusttest.Network, role string, nonce byte) Assignment {
	return Assignment{
		Network: net.Network(), Record: net.ID(), Identity: ann, Role: role, Granted: true,
		NotBefore: trusttest.Start.Unix(), Expires: trusttest.Start.Add(24 * time.Hour).Unix(), Nonce: [16]byte{nonce},
	}
}

func signRole(t testing.TB, net *trusttest.Network, a Assignment, validators ...int) []byte {
	t.Helper()
	s, err := statement.New(KindRole, a) // not DraftRole: tests sign what nobody should
	if err != nil {
		t.Fatal(err)
	}
	return net.Sign(s, validators...).Bytes()
}

func mustRole(t testing.TB, net *trusttest.Network, a Assignment) *Role {
	t.Helper()
	r, err := VerifyRole(signRole(t, net, a, net.Quorum()...), trust.Fixed(net.Committee))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoleIsGivenAndTakenAway(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	var set RoleSet
	given := mustRole(t, net, assignment(net, "analyst", 1))
	set.Add(given)
	set.Add(mustRole(t, net, assignment(net, "region/eu", 2)))
	for name, c := range map[string]struct {
		who  statement.ID
		at   time.Duration
		want []string
	}{
		"at its beginning":   {ann, 0, []string{"analyst", "region/eu"}},
		"in its last second": {ann, 24*time.Hour - time.Second, []string{"analyst", "region/eu"}},
		"too early":          {ann, -time.Second, nil},
		"at its end":         {ann, 24 * time.Hour, nil},
		"somebody else":      {bob, 0, nil},
	} {
		if got := set.Roles(c.who, trusttest.Start.Add(c.at)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	set.Add(mustRole(t, net, given.Removal(given.ID())))
	if got := set.Roles(ann, trusttest.Start); !slices.Equal(got, []string{"region/eu"}) {
		t.Errorf("after the removal: %v", got)
	}
	set.Add(given)
	if got := set.Roles(ann, trusttest.Start); !slices.Equal(got, []string{"region/eu"}) {
		t.Errorf("the old assignment came back: %v", got)
	}
	set.Add(mustRole(t, net, assignment(net, "analyst", 3)))
	if got := set.Roles(ann, trusttest.Start); !slices.Equal(got, []string{"analyst", "region/eu"}) {
		t.Errorf("a new assignment does not count: %v", got)
	}
}

// A removal does to its assignment what it says, and nothing else.
func TestRemovalMustNameWhatItTakes(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	given := mustRole(t, net, assignment(net, "analyst", 1))
	for name, change := range map[string]func(*Assignment){
		"another role":       func(a *Assignment) { a.Role = "steward" },
		"another identity":   func(a *Assignment) { a.Identity = bob },
		"another assignment": func(a *Assignment) { a.Takes = bob[:] },
	} {
		var set RoleSet
		set.Add(given)
		removal := given.Removal(given.ID())
		change(&removal)
		set.Add(mustRole(t, net, removal))
		if len(set.Roles(ann, trusttest.Start)) != 1 {
			t.Errorf("%s: the role is gone", name)
		}
	}
}

func TestRolesDoNotDependOnOrder(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	var all []*Role
	for i := range byte(12) {
		r := mustRole(t, net, assignment(net, "r"+string('a'+rune(i%5)), i))
		all = append(all, r)
		if i%3 == 0 {
			all = append(all, mustRole(t, net, r.Removal(r.ID())))
		}
	}
	var want []string
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var set RoleSet
		for range 2 { // each statement twice
			rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, r := range all {
				set.Add(r)
			}
		}
		got := set.Roles(ann, trusttest.Start)
		if want == nil {
			want = got
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Fatalf("order %d: %v, want %v", seed, got, want)
		}
	}
}

func TestRoleRefused(t *testing.T) {
	net, other := trusttest.New(t, "net", 4), trusttest.New(t, "other", 4)
	chain := trust.Fixed(net.Committee)
	if _, err := VerifyRole(signRole(t, net, assignment(net, "analyst", 0), 1, 2, 3), chain); err != nil {
		t.Fatalf("control: %v", err)
	}
	for name, change := range map[string]func(*Assignment){
		"no name":            func(a *Assignment) { a.Role = "" },
		"a long name":        func(a *Assignment) { a.Role = strings.Repeat("a", 65) },
		"a capital":          func(a *Assignment) { a.Role = "Analyst" },
		"a quote":            func(a *Assignment) { a.Role = `a" || true` },
		"no region":          func(a *Assignment) { a.Role = "region/" },
		"another network":    func(a *Assignment) { a.Network = other.Network() },
		"an unknown record":  func(a *Assignment) { a.Record = other.ID() },
		"no identity":        func(a *Assignment) { a.Identity = statement.ID{} },
		"no end":             func(a *Assignment) { a.Expires = 0 },
		"an end for ever":    func(a *Assignment) { a.Expires = 1<<63 - 1; a.NotBefore = -1 << 63 },
		"longer than a year": func(a *Assignment) { a.Expires = a.NotBefore + int64(MaxRoleLifetime/time.Second) + 1 },
		"gives and takes":    func(a *Assignment) { a.Takes = ann[:] },
		"takes nothing":      func(a *Assignment) { a.Granted, a.NotBefore, a.Expires = false, 0, 0 },
		"takes at a time":    func(a *Assignment) { a.Granted, a.Takes = false, ann[:] },
		"takes a part of an id": func(a *Assignment) {
			a.Granted, a.NotBefore, a.Expires, a.Takes = false, 0, 0, ann[:31]
		},
	} {
		a := assignment(net, "analyst", 0)
		change(&a)
		if _, err := VerifyRole(signRole(t, net, a, 0, 1, 2, 3), chain); !errors.Is(err, ErrRole) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := assignment(net, "analyst", 0)
	other.Signing = append(other.Signing[:2:2], net.Signing[2:]...)
	for name, raw := range map[string][]byte{
		"two signatures":            signRole(t, net, a, 0, 1),
		"two of ours, two of other": signRole(t, other, a, 0, 1, 2, 3),
		"no signature":              signRole(t, net, a),
		"nothing":                   nil,
		"too long":                  make([]byte, 65<<10),
		"another kind":              net.Sign(must(statement.New("other", a)), 0, 1, 2).Bytes(),
	} {
		if _, err := VerifyRole(raw, chain); !errors.Is(err, ErrRole) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DraftRole(Assignment{}); !errors.Is(err, ErrRole) {
		t.Errorf("draft: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func FuzzVerifyRole(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	chain := trust.Fixed(net.Committee)
	f.Add(signRole(f, net, assignment(net, "analyst", 0), 0, 1, 2))
	f.Add(signRole(f, net, assignment(net, "region/eu", 0), 0, 1))
	a := assignment(net, "analyst", 0)
	f.Add(signRole(f, net, a.Removal(ann), 0, 1, 2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := VerifyRole(raw, chain)
		if err != nil {
			if !errors.Is(err, ErrRole) {
				t.Errorf("not an ErrRole: %v", err)
			}
			return
		}
		if r.Check() != nil || must(statement.New(KindRole, r.Assignment)).ID() != r.ID() {
			t.Errorf("%+v", r)
		}
		var set RoleSet
		set.Add(r)
		if r.Granted != (len(set.Roles(r.Identity, time.Unix(r.NotBefore, 0))) == 1) {
			t.Errorf("%+v", r)
		}
	})
}

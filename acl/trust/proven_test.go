package trust_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// A credential whose signatures a chain has verified is refused for every other reason
// as before: another peer, another time, another byte.
func TestAProvenMembershipIsJudgedAgain(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	chain := trust.Fixed(net.Committee)
	raw := signed(t, net, trust.KindMembership, membership(net), 0, 1, 2)
	for range 2 {
		if _, err := chain.VerifyMembership(raw, carol, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.VerifyMembership(raw, trusttest.Key("dave").Public(), now); !errors.Is(err, trust.ErrStolen) {
		t.Errorf("shown by another peer: %v", err)
	}
	for _, at := range []time.Time{now.Add(48 * time.Hour), trusttest.Start.Add(-time.Second)} {
		if _, err := chain.VerifyMembership(raw, carol, at); !errors.Is(err, trust.ErrMembership) {
			t.Errorf("at %v: %v", at, err)
		}
	}
	for i := range raw {
		bad := append([]byte(nil), raw...)
		bad[i] ^= 1
		if _, err := chain.VerifyMembership(bad, carol, now); !errors.Is(err, trust.ErrMembership) {
			t.Fatalf("with byte %d of %d changed: %v", i, len(raw), err)
		}
	}
	if _, err := chain.VerifyMembership(raw, carol, now); err != nil {
		t.Errorf("control: %v", err)
	}
}

// What failed is not remembered as good, and a flood of credentials that verify costs
// no more than a bounded number of sums.
func TestWhatIsProvenIsBounded(t *testing.T) {
	net := trusttest.New(t, "net", 4)
	chain := trust.Fixed(net.Committee)
	few := signed(t, net, trust.KindMembership, membership(net), 0, 1)
	for range 2 {
		if _, err := chain.VerifyMembership(few, carol, now); !errors.Is(err, statement.ErrSignature) {
			t.Errorf("signed by too few: %v", err)
		}
	}
	if n := trust.Proven(chain); n != 0 {
		t.Errorf("%d are remembered of those that were refused", n)
	}
	for i := range trust.MaxProven + 10 {
		trust.Prove(chain, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
		if n := trust.Proven(chain); n > trust.MaxProven {
			t.Fatalf("%d are remembered, at most %d should be", n, trust.MaxProven)
		}
	}
	if n := trust.Proven(chain); n != 10 {
		t.Errorf("%d are remembered after the bound was passed, want the last 10", n)
	}
}

func BenchmarkMembershipMetAgain(b *testing.B) {
	net := trusttest.New(b, "net", 4)
	raw := signed(b, net, trust.KindMembership, membership(net), 0, 1, 2)
	chain := trust.Fixed(net.Committee)
	for name, verify := range map[string]func([]byte, statement.PublicKey, time.Time) (*trust.Membership, error){
		"chain": chain.VerifyMembership, "record": net.VerifyMembership,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := verify(raw, carol, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

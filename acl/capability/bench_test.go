package capability

import (
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// A grant is verified for every request, so what repeats must not cost what the
// first time costs: cold, 3 validators, the owner and an identity record each
// take one Ed25519 verification of 50 us; hot, none does.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	for name, raw := range map[string][]byte{"grant": w.root(b, w.grant()).Bytes(), "link": w.honest(b).Bytes()} {
		b.Run(name+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				verify(b, w.verifier(), raw)
			}
		})
		b.Run(name+"/hot", func(b *testing.B) {
			vf := w.verifier()
			b.ReportAllocs()
			for b.Loop() {
				verify(b, vf, raw)
			}
		})
	}
}

func verify(b *testing.B, vf *Verifier, raw []byte) *Verified {
	c, err := ParseChain(raw)
	if err != nil {
		b.Fatal(err)
	}
	v, err := vf.Verify(c)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// Asked before every block that a holder writes.
func BenchmarkLive(b *testing.B) {
	w := newWorld(b)
	v := verify(b, w.vf, w.honest(b).Bytes())
	b.ReportAllocs()
	for b.Loop() {
		if err := w.vf.Live(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckProof(b *testing.B) {
	w := newWorld(b)
	p, want, _ := w.conversation(statement.Hash("leaf"))
	raw := prove(b, p, w.reader)
	want.UseCounter = func(uint64) bool { return true }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CheckProof(raw, w.reader.Identity, want); err != nil {
			b.Fatal(err)
		}
	}
}

// A whole request by a known chain: one signature verification.
func BenchmarkOpenHot(b *testing.B) {
	w := newWorld(b)
	c := w.honest(b)
	leaf, err := c.Leaf()
	if err != nil {
		b.Fatal(err)
	}
	p, want, _ := w.conversation(leaf)
	raw, err := statement.Marshal(Authority{Chain: c.Bytes(), Proof: prove(b, p, w.friend)})
	if err != nil {
		b.Fatal(err)
	}
	want.UseCounter = func(uint64) bool { return true }
	b.ReportAllocs()
	for b.Loop() {
		a, err := ParseAuthority(raw)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := w.vf.Open(a, want); err != nil {
			b.Fatal(err)
		}
	}
}

package daemon

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/witness"
)

// BenchmarkCosignDurably is one cosignature of a witness over a real store: the
// checkpoint's signature, the proof, the flush, the signing.
func BenchmarkCosignDurably(b *testing.B) {
	m := watched(b, 1)
	n, v := m.nodes[0], m.validators[0]
	if err := m.records(b, n, "one"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		old := n.audit.Log().Published().N
		for range 37 {
			if err := n.record(b.Context(), event.Add, event.OK, event.Act{Detail: "event"}); err != nil {
				b.Fatal(err)
			}
		}
		c, err := n.audit.Log().Checkpoint(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		proof, err := n.audit.Log().ProveConsistency(old, c.N)
		if err != nil {
			b.Fatal(err)
		}
		body := witness.Request{Old: old, Proof: proof, Checkpoint: c.Note}.Body()
		m.skew.Add(2)
		b.StartTimer()
		if _, err := v.witnessing.witness.Add(body); err != nil {
			b.Fatal(err)
		}
	}
}

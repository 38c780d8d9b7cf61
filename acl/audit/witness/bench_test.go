package witness

import (
	"fmt"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
)

// BenchmarkCosign is a cosignature without the disk: the checkpoint's signature, the
// proof, the state and the signing.
func BenchmarkCosign(b *testing.B) {
	s, h := newStand(b, trusttest.Key("w")), nodeHistory(b, "node").add(1, "event")
	s.introduce(h)
	s.must(h.body(0, 1))
	for b.Loop() {
		b.StopTimer()
		s.clock.pass(pace)
		body := h.add(37, "event").body(h.size-37, h.size)
		b.StartTimer()
		if _, err := s.Add(body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOfflineProof verifies a proof of one record of 30,000, with the quorum's
// cosignatures, against the committee record.
func BenchmarkOfflineProof(b *testing.B) {
	n := newNet(b, 4)
	const records = 30_000
	for i := 0; i < records; i += 1000 {
		leaves := make([][]byte, 1000)
		for j := range leaves {
			leaves[j] = fmt.Appendf(nil, "leaf %d", i+j)
		}
		if err := n.Log.Append(b.Context(), leaves...); err != nil {
			b.Fatal(err)
		}
	}
	n.grow(1)
	n.round()
	proof, leaf := n.verified(records)
	for b.Loop() {
		policy, err := Policy(n.Log.Binding(), n.record)
		if err != nil {
			b.Fatal(err)
		}
		if err := audit.VerifyInclusion(policy, leaf, proof); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(proof)), "B/proof")
}

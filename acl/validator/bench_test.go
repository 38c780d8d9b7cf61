package validator_test

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	vt "cerebrum.dev/cerebrum/acl/validator/validatortest"
	"cerebrum.dev/cerebrum/crypto/envelope"
)

// objects are n objects of one lineage, so that one grant covers them.
func (w *world) objects(b *testing.B, n int) ([]*vt.Object, capability.Target) {
	lineage := envelope.NewNonce()
	out := make([]*vt.Object, n)
	for i := range out {
		out[i] = w.Object(b, w.alice, func(m *envelope.Manifest) { m.Lineage = lineage })
	}
	return out, capability.Target{Kind: capability.Lineage, Ref: lineage}
}

// BenchmarkRelease is one validator's answer for one object: proof, chain,
// policy, share, a durable record in the audit log, and sealing.
func BenchmarkRelease(b *testing.B) { benchmarkRelease(b, 1) }

// BenchmarkRelease1000 is the same for the largest batch.
func BenchmarkRelease1000(b *testing.B) { benchmarkRelease(b, validator.MaxBatch) }

// madeAtOnce is how many requests are made before they are asked: to stop a
// benchmark's timer stops the whole process and counts its memory, which takes a
// twentieth of a release's time, on its bill.
const madeAtOnce = 64

func benchmarkRelease(b *testing.B, n int) {
	w := newWorld(b, vt.Options{})
	objects, target := w.objects(b, n)
	d := w.Deal(b, w.alice, 0, objects)
	if _, err := w.Deposit(b, 0, w.Request(b, d, 0)); err != nil {
		b.Fatal(err)
	}
	s, r := w.Connect(w.bob, 0), vt.ReleaseOf(objects...)
	chain, conn := w.Grant(b, w.alice, w.bob, target), s.Conn()
	digest := r.Digest()
	var made [][]byte
	c := startCPU(b)
	for b.Loop() {
		if len(made) == 0 {
			c.stop()
			b.StopTimer()
			for range max(1, madeAtOnce/n) {
				r.Authority = w.ByChain(b, w.bob, chain, s, digest)
				made = append(made, encode(b, r))
			}
			b.StartTimer()
			c.start()
		}
		raw := made[0]
		made = made[1:]
		if _, err := w.Validators[0].Release(b.Context(), conn, raw); err != nil {
			b.Fatal(err)
		}
	}
	c.report(n)
}

// BenchmarkReleaseParallel has many readers at once, whose decisions share a flush
// of the log. Making each reader's proof is counted in.
func BenchmarkReleaseParallel(b *testing.B) {
	w := newWorld(b, vt.Options{})
	objects, target := w.objects(b, 1)
	if _, err := w.Deposit(b, 0, w.Request(b, w.Deal(b, w.alice, 0, objects), 0)); err != nil {
		b.Fatal(err)
	}
	chain := w.Grant(b, w.alice, w.bob, target)
	c := startCPU(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		s, r := w.Connect(w.bob, 0), vt.ReleaseOf(objects...)
		for pb.Next() {
			r.Authority = nil
			r.Authority = w.ByChain(b, w.bob, chain, s, r.Digest())
			if _, err := w.Validators[0].Release(b.Context(), s.Conn(), encode(b, r)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	c.report(1)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "releases/s")
}

// BenchmarkDeposit1000 is one validator's work for the largest batch: opening
// its box, checking 1,000 manifests, dealings and shares, and three durable writes
// (the store's is memory here).
func BenchmarkDeposit1000(b *testing.B) {
	w := newWorld(b, vt.Options{})
	c := startCPU(b)
	for b.Loop() {
		b.StopTimer()
		c.stop()
		objects, _ := w.objects(b, validator.MaxBatch)
		raw := encode(b, w.Request(b, w.Deal(b, w.alice, 0, objects), 0))
		c.start()
		b.StartTimer()
		if _, err := w.Validators[0].Deposit(b.Context(), validator.Conn{}, raw); err != nil {
			b.Fatal(err)
		}
	}
	c.report(validator.MaxBatch)
}

// cpu adds up processor time of the whole process, on all cores, between start
// and stop.
type cpu struct {
	b           *testing.B
	total, mark int64 // nanoseconds
}

func startCPU(b *testing.B) *cpu {
	c := &cpu{b: b}
	c.start()
	return c
}

func (c *cpu) start() { c.mark = cpuNanoseconds() }
func (c *cpu) stop()  { c.total += cpuNanoseconds() - c.mark }

// report says what an operation, and each of its objects, costs.
func (c *cpu) report(objects int) {
	c.stop()
	each := float64(c.total) / float64(c.b.N)
	c.b.ReportMetric(each, "cpu-ns/op")
	c.b.ReportMetric(each/float64(objects), "cpu-ns/object")
}

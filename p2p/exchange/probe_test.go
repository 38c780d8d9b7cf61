package exchange

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// rankSum is how many standard deviations the ranks of a lie away from those of b
// (Mann and Whitney): with equal distributions more than 4.5 comes once in 150,000 runs.
func rankSum(a, b []time.Duration) float64 {
	type sample struct {
		took time.Duration
		ofA  bool
	}
	var all []sample
	for _, x := range a {
		all = append(all, sample{x, true})
	}
	for _, x := range b {
		all = append(all, sample{x, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return int(x.took - y.took) })
	sum := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].took == all[i].took {
			j++
		}
		for _, s := range all[i:j] { // equal ones share their ranks
			if s.ofA {
				sum += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	return (sum - n*(n+m+1)/2) / math.Sqrt(n*m*(n+m+1)/12)
}

// BenchmarkRefusalTimes measures what TestRefusalsTakeTheSameTime proves in fake time:
// a member without a grant asks for an object that is here and for two that are not,
// over a real connection, and compares the times of the answers. The holder judges the
// one that is here, which takes it some hundred microseconds, as two signatures do; the
// grid on which refusals leave hides that. It reports by how many standard deviations
// the ranks of 150 times each differ, with the grid and without, and for comparison
// those of the two that are not here. The order is drawn anew each time: in turns, what
// one kind leaves to the next (garbage, a neighbour's rhythm) would look like a
// difference between them.
func BenchmarkRefusalTimes(b *testing.B) {
	m := newMemory()
	asked := [3]object{addObject(b, m, 10), addObject(b, newMemory(), 10), addObject(b, newMemory(), 10)}
	g := &policy{allows: func(cid.Cid) error {
		sha256.Sum256(make([]byte, 256<<10))
		return errors.New("not for you")
	}}
	tells := func(tick time.Duration) (here, nothing float64) {
		p := serve(b, m, g, Limits{RefusalTick: tick})
		var times [len(asked)][]time.Duration
		for range 150 {
			for _, kind := range rand.Perm(len(asked)) {
				began := time.Now()
				if _, err := p.fetch((&got{}).sink, asked[kind].whole()); !errors.Is(err, ErrRefused) {
					b.Fatal(err)
				}
				times[kind] = append(times[kind], time.Since(began))
			}
		}
		return math.Abs(rankSum(times[0], times[1])), math.Abs(rankSum(times[1], times[2]))
	}
	for b.Loop() {
		with, nothing := tells(0)
		without, _ := tells(time.Nanosecond)
		b.ReportMetric(with, "sd-with-the-grid")
		b.ReportMetric(nothing, "sd-of-nothing")
		b.ReportMetric(without, "sd-without")
	}
}

// announcing is a stream whose peer announces a request of n bytes and sends no more.
type announcing struct {
	network.Stream
	prefix []byte
	peer   peer.ID
	stuck  chan<- struct{} // told when the peer's bytes are used up
	end    <-chan struct{}
	once   sync.Once
}

type announcingConn struct {
	network.Conn
	peer peer.ID
}

func (c announcingConn) RemotePeer() peer.ID { return c.peer }

func (a *announcing) Read(b []byte) (int, error) {
	if len(a.prefix) > 0 {
		n := copy(b, a.prefix)
		a.prefix = a.prefix[n:]
		return n, nil
	}
	a.once.Do(func() { a.stuck <- struct{}{} })
	<-a.end
	return 0, io.ErrUnexpectedEOF
}

func (a *announcing) SetReadDeadline(time.Time) error              { return nil }
func (a *announcing) Conn() network.Conn                           { return announcingConn{peer: a.peer} }
func (a *announcing) ResetWithError(network.StreamErrorCode) error { return nil }
func (a *announcing) Close() error                                 { return nil }
func (a *announcing) SetWriteDeadline(time.Time) error             { return nil }
func (a *announcing) Write(b []byte) (int, error)                  { return len(b), nil }

// BX-04: a peer that announces the largest request on each of many streams, and sends
// none, costs a holder less than 16 MiB. The control is a holder that takes as many
// streams of one peer as come.
func TestAnnouncedRequestsCostLittle(t *testing.T) {
	const streams = 64
	cost := func(lim Limits, announced uint32) int64 {
		s := NewServer(newMemory(), &policy{}, nil, lim)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		stuck, end := make(chan struct{}, streams), make(chan struct{})
		ended := make(chan struct{}, streams)
		for range streams {
			a := &announcing{prefix: binary.BigEndian.AppendUint32(nil, announced), peer: "hostile", stuck: stuck, end: end}
			go func() { s.Handle(a); ended <- struct{}{} }()
		}
		for done := 0; done < streams; done++ { // each has been turned away, or waits
			select {
			case <-stuck:
			case <-ended:
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		close(end)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc)
	}
	if n := cost(Limits{}, MaxRequestBytes); n > 16<<20 {
		t.Errorf("%d streams of one peer cost %d bytes", streams, n)
	}
	open := Limits{StreamsPerPeer: streams, Streams: streams}
	if n := cost(open, MaxRequestBytes); n < 16<<20 {
		t.Errorf("without the limit they cost %d bytes: the test sees nothing", n)
	}
	for _, huge := range []uint32{MaxRequestBytes + 1, math.MaxInt32, math.MaxUint32} {
		if n := cost(open, huge); n > 16<<20 {
			t.Errorf("%d announced bytes cost %d on %d streams", huge, n, streams)
		}
	}
}

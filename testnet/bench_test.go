package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/testnet/localnet"
)

// benchNet is a network of real processes for a benchmark, reached through its
// nodes' sockets.
type benchNet struct {
	*testing.B
	net      *localnet.Network
	contacts []string
	api      []*client.Client
}

func newBenchNet(b *testing.B, numbers trust.Numbers, nodes int) *benchNet {
	b.Helper()
	fail := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	tmp, err := os.MkdirTemp("", "cb-")
	fail(err)
	b.Cleanup(func() { os.RemoveAll(tmp) })
	n := &benchNet{B: b}
	n.net, err = localnet.Create(localnet.Plan{Dir: filepath.Join(tmp, "net"), Nodes: nodes, Numbers: numbers, Now: time.Now})
	fail(err)
	b.Cleanup(func() { n.net.Stop(context.WithoutCancel(b.Context())) })
	fail(n.net.Start(b.Context(), program))
	for i := range nodes {
		p, err := n.net.Find(fmt.Sprintf("node%d", i+1))
		fail(err)
		c := client.Dial(b.Context(), p.Home)
		if c == nil {
			b.Fatalf("%s does not answer", p.Name)
		}
		h, err := home.Open(p.Home, func() ([]byte, error) { return nil, fmt.Errorf("keys are plain") })
		fail(err)
		n.api, n.contacts = append(n.api, c), append(n.contacts, h.Principals()[0].Identity.Contact())
	}
	return n
}

// addFolder adds a folder of files of 1 KiB at node1 and grants it to node2.
func (n *benchNet) addFolder(files int) (addresses []string, grant string) {
	n.Helper()
	for i := range files {
		content := make([]byte, 1024)
		rand.Read(content)
		a, err := n.api[0].AddStream(n.Context(), api.AddRequest{Name: fmt.Sprint("object ", i)}, bytes.NewReader(content))
		if err != nil {
			n.Fatal(err)
		}
		addresses = append(addresses, a.Address)
		g, err := n.api[0].Grant(n.Context(), api.GrantRequest{Address: a.Address, To: n.contacts[1], Can: "read", Seconds: 3600})
		if err != nil {
			n.Fatal(err)
		}
		grant = g.Grant
	}
	return addresses, grant
}

// quantiles reports the median and the 99th percentile in milliseconds.
func quantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}

// BenchmarkRead reads objects of 1 KiB at another node, each under a grant of its
// own, with n = 9, f = 2, k = 6, t = 5: mailbox or grant at hand, releases, transfer,
// verification, decryption, through the node's socket. The load is open: a read
// begins every 10 ms, whether or not those before have ended.
func BenchmarkRead(b *testing.B) {
	n := newBenchNet(b, trust.Numbers{N: 9, F: 2, K: 6, T: 5}, 2)
	const reads = 500
	addresses, _ := n.addFolder(100)
	for b.Loop() {
		took := make([]time.Duration, reads)
		var wg sync.WaitGroup
		tick := time.NewTicker(10 * time.Millisecond)
		for i := range reads {
			<-tick.C
			wg.Go(func() {
				began := time.Now()
				if _, err := n.api[1].GetStream(b.Context(), api.GetRequest{Address: addresses[i%len(addresses)]}, io.Discard); err != nil {
					b.Error(err)
				}
				took[i] = time.Since(began)
			})
		}
		tick.Stop()
		wg.Wait()
		quantiles(b, took)
	}
}

// BenchmarkRevoke revokes grants at a network of four validators: until it is
// effective and acknowledged.
func BenchmarkRevoke(b *testing.B) {
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, 2)
	a, err := n.api[0].AddStream(b.Context(), api.AddRequest{Name: "object"}, bytes.NewReader(make([]byte, 1024)))
	if err != nil {
		b.Fatal(err)
	}
	const revocations = 50
	for b.Loop() {
		var took, keys []time.Duration
		for range revocations {
			g, err := n.api[0].Grant(b.Context(), api.GrantRequest{Address: a.Address, To: n.contacts[1], Can: "read", Seconds: 3600})
			if err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			r, err := n.api[0].Revoke(b.Context(), api.RevokeRequest{Grant: g.Grant})
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
			keys = append(keys, time.Duration(r.Seconds*float64(time.Second)))
		}
		quantiles(b, took)
		slices.Sort(keys)
		b.ReportMetric(float64(keys[len(keys)/2].Microseconds())/1000, "keys-p50-ms")
	}
}

package testnet_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// BenchmarkRotation renews the committee of a network of real processes that
// holds as many deposits as CEREBRUM_BENCH_DEPOSITS says (2,000 where it says
// nothing), until no validator has a share of the committee before, while another
// node reads all the time.
func BenchmarkRotation(b *testing.B) {
	deposits := 2000
	if s := os.Getenv("CEREBRUM_BENCH_DEPOSITS"); s != "" {
		var err error
		if deposits, err = strconv.Atoi(s); err != nil || deposits < 1 {
			b.Fatalf("CEREBRUM_BENCH_DEPOSITS is %q", s)
		}
	}
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, 2)
	folder := filepath.Join(filepath.Dir(n.net.Dir), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	for i := range deposits {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), []byte(fmt.Sprint("file ", i)), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := n.api[0].Add(b.Context(), api.AddRequest{Path: folder}); err != nil {
		b.Fatal(err)
	}
	addresses, _ := n.addFolder(1)
	n.delivered()
	for b.Loop() {
		stop := make(chan struct{})
		failed, reads := make(chan int, 1), 0
		go func() {
			bad := 0
			defer func() { failed <- bad }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := n.api[1].GetStream(b.Context(), api.GetRequest{Address: addresses[0]}, io.Discard); err != nil {
					b.Log(err)
					bad++
				}
				reads++
			}
		}()
		began := time.Now()
		n.renew()
		n.settled()
		b.ReportMetric(time.Since(began).Seconds(), "s/rotation")
		close(stop)
		b.ReportMetric(float64(<-failed), "failed-reads")
		b.ReportMetric(float64(reads), "reads")
	}
}

// command runs one command of a member.
func (n *benchNet) command(member string, args ...string) {
	n.Helper()
	p, err := n.net.Find(member)
	if err != nil {
		n.Fatal(err)
	}
	c := exec.CommandContext(n.Context(), program, append([]string{"--home", p.Home}, args...)...)
	if out, err := c.CombinedOutput(); err != nil {
		n.Fatalf("%s %v: %v\n%s", member, args, err, out)
	}
}

// renew gives the network its next committee record.
func (n *benchNet) renew() {
	n.Helper()
	file := filepath.Join(filepath.Dir(n.net.Dir), "next.network")
	n.command("node1", "network", "rotate", "-o", file)
	for i := range 3 {
		n.command(fmt.Sprintf("validator%d", i+1), "network", "sign", file)
	}
	n.command("node1", "network", "use", file)
	os.Remove(file)
}

// delivered waits until every validator has every deposit.
func (n *benchNet) delivered() {
	n.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := n.api[0].Status(n.Context())
		if err != nil {
			n.Fatal(err)
		}
		if s.Outbox == 0 {
			return
		}
		<-tick.C
	}
}

// settled waits until every validator has the new record and holds no share of
// the one before.
func (n *benchNet) settled() {
	n.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	version := uint64(0)
	for i := range 4 {
		p, err := n.net.Find(fmt.Sprintf("validator%d", i+1))
		if err != nil {
			n.Fatal(err)
		}
		c := client.Dial(n.Context(), p.Home)
		if c == nil {
			n.Fatalf("%s does not answer", p.Name)
		}
		for {
			s, err := c.Status(n.Context())
			if err != nil {
				n.Fatal(err)
			}
			if version == 0 {
				version = s.Version
			}
			if s.Version > 1 && s.Version == version && s.Rotating == 0 && s.Settled {
				break
			}
			<-tick.C
		}
	}
}

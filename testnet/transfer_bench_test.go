package testnet_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api"
)

// benchBytes is the size of the large object of the benchmarks: what
// CEREBRUM_BENCH_BYTES says (1G is 1073741824), or 256 MiB.
func benchBytes(b *testing.B) int64 {
	b.Helper()
	s := os.Getenv("CEREBRUM_BENCH_BYTES")
	if s == "" {
		return 256 << 20
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1<<20 {
		b.Fatalf("CEREBRUM_BENCH_BYTES is %q, not a number of bytes of at least a million", s)
	}
	return n
}

// noise is that many bytes that do not compress, from a seed.
func noise(n int64) io.Reader {
	return io.LimitReader(mathrand.NewChaCha8([32]byte{byte(n)}), n)
}

// addNoise adds an object of random bytes at node1 and grants it to the readers.
func (n *benchNet) addNoise(size int64, readers ...int) string {
	n.Helper()
	a, err := n.api[0].AddStream(n.Context(), api.AddRequest{Name: "noise"}, bufio.NewReaderSize(noise(size), 1<<20))
	if err != nil {
		n.Fatal(err)
	}
	n.let(a.Address, readers...)
	return a.Address
}

// let grants an object of node1 to other nodes, by their index.
func (n *benchNet) let(address string, readers ...int) {
	n.Helper()
	for _, r := range readers {
		if _, err := n.api[0].Grant(n.Context(), api.GrantRequest{Address: address, To: n.contacts[r], Can: "read", Seconds: 36000}); err != nil {
			n.Fatal(err)
		}
	}
}

// get runs `cerebrum get` at a node with its standard output going to a file, which
// may be /dev/null, and says how long it took.
func (n *benchNet) get(member, address, into string, args ...string) time.Duration {
	n.Helper()
	p, err := n.net.Find(member)
	if err != nil {
		n.Fatal(err)
	}
	c := exec.CommandContext(n.Context(), program, append([]string{"--home", p.Home, "get", address}, args...)...)
	var said bytes.Buffer
	c.Stderr = &said
	if into != "" {
		out, err := os.Create(into)
		if err != nil {
			n.Fatal(err)
		}
		defer out.Close()
		c.Stdout = out
	}
	began := time.Now()
	if err := c.Run(); err != nil {
		n.Fatalf("get at %s: %v\n%s", member, err, said.String())
	}
	return time.Since(began)
}

// forgetPeak lets the system count a process's most memory anew; peak reads it, in
// MiB. Both do nothing where the system does not tell.
func (n *benchNet) forgetPeak(member string) {
	if p, err := n.net.Find(member); err == nil {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0)
	}
}

func (n *benchNet) peak(member string) float64 {
	p, err := n.net.Find(member)
	if err != nil {
		n.Fatal(err)
	}
	kib, _ := procField(p.PID, "status", "VmHWM:")
	return float64(kib) / 1024
}

// tlsStream moves bytes over one TLS 1.3 connection on loopback and drops them: the
// measure for everything that moves bytes between two processes.
func tlsStream(b *testing.B, size int64) time.Duration {
	b.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
	if err != nil {
		b.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{c}, io.LimitReader(endless{}, size), make([]byte, 128<<10))
		}
		sent <- err
	}()
	began := time.Now()
	// The certificate is made for this call: that anything answers there is enough.
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 128<<10))
	if err = errors.Join(err, <-sent); err != nil || n != size {
		b.Fatalf("%d of %d bytes: %v", n, size, err)
	}
	return time.Since(began)
}

// endless has bytes without end and costs nothing.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func rate(size int64, took time.Duration) float64 { return float64(size) / 1e6 / took.Seconds() }

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}

// ipfsGet measures `ipfs cat | age -d` between two stock IPFS nodes, where both
// programs are there.
func ipfsGet(b *testing.B, size int64, into string) (time.Duration, bool) {
	for _, p := range []string{"ipfs", "age", "age-keygen"} {
		if _, err := exec.LookPath(p); err != nil {
			b.Logf("SKIPPED, NOT COMPARED: there is no %s on PATH, so `ipfs cat | age -d` was not measured", p)
			return 0, false
		}
	}
	script := filepath.Join("testdata", "ipfs-get.sh")
	c := exec.CommandContext(b.Context(), "bash", script, strconv.FormatInt(size, 10), into)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", script, err, said.String())
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// BenchmarkGet gets one large object from another node, key release and decryption
// included, each time as `cerebrum get` does: to /dev/null and into a file. Beside it,
// in turns, one TLS stream moves as many bytes. Of five rounds the medians count.
func BenchmarkGet(b *testing.B) {
	size := benchBytes(b)
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, 2)
	address := n.addNoise(size, 1)
	folder := filepath.Dir(n.net.Dir)
	n.get("node2", address, os.DevNull) // the grant is at hand after this
	n.forgetPeak("node1")
	n.forgetPeak("node2")
	for b.Loop() {
		var null, file, stream []time.Duration
		for range 5 {
			stream = append(stream, tlsStream(b, size))
			null = append(null, n.get("node2", address, os.DevNull))
			out := filepath.Join(folder, "copy")
			file = append(file, n.get("node2", address, "", "--output", out))
			os.Remove(out)
		}
		s, u, f := rate(size, median(stream)), rate(size, median(null)), rate(size, median(file))
		b.ReportMetric(s, "TLS-MB/s")
		b.ReportMetric(u, "null-MB/s")
		b.ReportMetric(f, "file-MB/s")
		b.ReportMetric(u/s, "null/TLS")
		b.ReportMetric(n.peak("node1"), "holder-MiB")
		b.ReportMetric(n.peak("node2"), "reader-MiB")
		if took, ok := ipfsGet(b, size, os.DevNull); ok {
			b.ReportMetric(u/rate(size, took), "null/ipfs|age")
		}
		if took, ok := ipfsGet(b, size, filepath.Join(folder, "copy")); ok {
			b.ReportMetric(f/rate(size, took), "file/ipfs|age")
		}
	}
}

// BenchmarkGetFiles gets 10,000 files of 4 KiB, one folder, from one peer: releases in
// batches, ciphertext in batches, written and on disk at the end.
func BenchmarkGetFiles(b *testing.B) {
	files := 10000
	if s := os.Getenv("CEREBRUM_BENCH_FILES"); s != "" {
		var err error
		if files, err = strconv.Atoi(s); err != nil || files < 1 {
			b.Fatalf("CEREBRUM_BENCH_FILES is %q", s)
		}
	}
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, 2)
	folder := filepath.Join(filepath.Dir(n.net.Dir), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 4096)
	for i := range files {
		rand.Read(content)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	a, err := n.api[0].Add(b.Context(), api.AddRequest{Path: folder})
	if err != nil {
		b.Fatal(err)
	}
	n.let(a.Address, 1)
	n.forgetPeak("node1")
	n.forgetPeak("node2")
	for i := 0; b.Loop(); i++ {
		out := filepath.Join(filepath.Dir(n.net.Dir), fmt.Sprint("copy", i))
		took := n.get("node2", a.Address, "", "--output", out)
		b.ReportMetric(float64(files)/took.Seconds(), "files/s")
		b.ReportMetric(n.peak("node1"), "holder-MiB")
		b.ReportMetric(n.peak("node2"), "reader-MiB")
		os.RemoveAll(out)
	}
}

// BenchmarkFirstByte waits for the first byte of a large object that a node has never
// seen: the grant from the mailboxes, releases, the first leaf. It is measured at nodes
// that have never read anything (strange: every log that takes part makes a row for a
// new person first, durably), and again, with another object, at the same nodes.
func BenchmarkFirstByte(b *testing.B) {
	const readers = 8
	size := benchBytes(b)
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, readers+1)
	var which []int
	for i := range readers {
		which = append(which, i+1)
	}
	measure := func() (took []time.Duration) {
		address := n.addNoise(size, which...)
		for _, i := range which {
			took = append(took, n.firstByte(i, address))
		}
		return took
	}
	strange := median(measure())
	for b.Loop() {
		quantiles(b, measure())
		b.ReportMetric(float64(strange.Microseconds())/1000, "strange-p50-ms")
	}
}

func (n *benchNet) firstByte(reader int, address string) time.Duration {
	n.Helper()
	ctx, cancel := context.WithCancel(n.Context())
	defer cancel()
	w := &firstWrite{cancel: cancel}
	began := time.Now()
	_, err := n.api[reader].GetStream(ctx, api.GetRequest{Address: address}, w)
	if w.at.IsZero() {
		n.Fatalf("nothing came: %v", err)
	}
	return w.at.Sub(began)
}

// firstWrite ends a transfer with its first byte.
type firstWrite struct {
	at     time.Time
	cancel context.CancelFunc
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.at.IsZero() {
		w.at = time.Now()
	}
	w.cancel()
	return 0, errors.New("one is enough")
}

// BenchmarkTwoHolders gets one large object into /dev/null where one node holds it, and
// then where two do. asked is how many of them the last time: a second one is tried only
// where the first is slow or much is left. A small object has come before that.
func BenchmarkTwoHolders(b *testing.B) {
	size := max(benchBytes(b), 1<<30)
	n := newBenchNet(b, trust.Numbers{N: 4, F: 1, K: 3, T: 3}, 3)
	address := n.addNoise(size, 1)
	measure := func() float64 {
		var took []time.Duration
		for range 5 {
			took = append(took, n.get("node2", address, os.DevNull))
		}
		return rate(size, median(took))
	}
	n.get("node2", address, os.DevNull)
	for i := 0; b.Loop(); i++ {
		if i > 0 {
			b.Fatal("the second holder does not go away again: use -benchtime 1x")
		}
		one := measure()
		n.carry(address, 2)
		n.forgetPeak("node2")
		two := measure()
		b.ReportMetric(one, "one-MB/s")
		b.ReportMetric(two, "two-MB/s")
		b.ReportMetric(two/one, "two/one")
		b.ReportMetric(float64(n.asked(address)), "asked")
		b.ReportMetric(n.peak("node2"), "reader-MiB")
	}
}

// asked is how many holders an object comes from at node2.
func (n *benchNet) asked(address string) int {
	n.Helper()
	got, err := n.api[1].GetStream(n.Context(), api.GetRequest{Address: address}, io.Discard)
	if err != nil {
		n.Fatal(err)
	}
	return len(got.From)
}

// carry takes an object's ciphertext from node1 to another node by hand.
func (n *benchNet) carry(address string, to int) {
	n.Helper()
	car := filepath.Join(filepath.Dir(n.net.Dir), "carried.car")
	if err := os.WriteFile(car, nil, 0o600); err != nil {
		n.Fatal(err)
	}
	defer os.Remove(car)
	if _, err := n.api[0].Export(n.Context(), api.ExportRequest{Address: address, Into: car, Format: "car"}); err != nil {
		n.Fatal(err)
	}
	if _, err := n.api[to].Import(n.Context(), api.ImportRequest{Path: car}); err != nil {
		n.Fatal(err)
	}
}

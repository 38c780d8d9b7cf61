package forward

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/kv"
)

// numbers is a log whose messages are the numbers of its entries; every tenth entry has
// none.
type numbers struct{ n, first atomic.Int64 }

func (l *numbers) First() int64 { return l.first.Load() }

func (l *numbers) Size() int64 { return l.n.Load() }

func (l *numbers) Messages(_ *audit.Cursor, from int64, fn func(int64, []byte) error) error {
	for i := from; i < l.n.Load(); i++ {
		m := []byte(fmt.Sprintf("entry %d", i))
		if i%10 == 9 {
			m = nil
		}
		if err := fn(i, m); err != nil {
			return err
		}
	}
	return nil
}

// collector is a syslog server over a stream.
type collector struct {
	net.Listener
	mu   sync.Mutex
	got  []string
	cond *sync.Cond
	conn net.Conn
}

func collect(t *testing.T, l net.Listener) *collector {
	t.Helper()
	c := &collector{Listener: l}
	c.cond = sync.NewCond(&c.mu)
	go c.serve() // ends with the listener
	t.Cleanup(func() { l.Close() })
	return c
}

func (c *collector) serve() {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conn = conn
		c.mu.Unlock()
		c.read(conn)
	}
}

func (c *collector) read(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		length, err := r.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil {
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(r, m); err != nil {
			return
		}
		c.add(string(m))
	}
}

func (c *collector) add(m string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	c.cond.Broadcast()
}

// until waits for a message, and gives all there are.
func (c *collector) until(last string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.got) == 0 || c.got[len(c.got)-1] != last {
		c.cond.Wait()
	}
	return append([]string(nil), c.got...)
}

// cut breaks the connection.
func (c *collector) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.Close()
}

// run forwards until the function that it returns is called.
func run(t *testing.T, target string, l Log, s kv.Store, change ...func(*Config)) (stop func()) {
	t.Helper()
	_, stop = begin(t, target, l, s, change...)
	return stop
}

// begin is run, with the forwarder.
func begin(t *testing.T, target string, l Log, s kv.Store, change ...func(*Config)) (f *Forwarder, stop func()) {
	t.Helper()
	to, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Target: to, Log: l, Store: s, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Every: time.Millisecond, Retry: time.Millisecond, Again: 150} // more than a line that is cut can swallow below
	for _, f := range change {
		f(&c)
	}
	f, err = New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// complete expects every entry up to n, in order, once or more.
func complete(t *testing.T, got []string, from, n int) {
	t.Helper()
	next := from
	for _, m := range got {
		var i int
		if _, err := fmt.Sscanf(m, "entry %d", &i); err != nil {
			t.Fatalf("%q", m)
		}
		if next%10 == 9 {
			next++ // has no message
		}
		switch {
		case i == next:
			next++
		case i > next:
			t.Fatalf("entry %d is missing before %d", next, i)
		}
	}
	if next != n {
		t.Errorf("the entries end at %d, not %d", next, n)
	}
}

func TestEntriesArriveAndGoOnAfterBreaksAndStarts(t *testing.T) {
	first := listen(t, "tcp", "127.0.0.1:0")
	address := first.Addr().String()
	c := collect(t, first)
	l, s := &numbers{}, new(kv.Memory)
	l.n.Store(600) // more than a batch
	stop := run(t, "tcp://"+address, l, s)
	complete(t, c.until("entry 598"), 0, 599)
	l.n.Store(700)
	complete(t, c.until("entry 698"), 0, 699)

	c.cut() // the server drops the line
	l.n.Store(800)
	got := c.until("entry 798")
	complete(t, got, 0, 799)
	if len(got) > 720+150 {
		t.Errorf("%d messages: more were sent once more than should be", len(got))
	}

	// The server is away for a while, and comes back.
	first.Close()
	c.cut()
	l.n.Store(900)
	c2 := collect(t, listen(t, "tcp", address))
	got = c2.until("entry 898")
	again := 0
	if _, err := fmt.Sscanf(got[0], "entry %d", &again); err != nil || again > 800 {
		t.Fatalf("it goes on with %q", got[0])
	}
	complete(t, got, again, 899)

	// The node starts again, which is a break too: the last are sent once more, and no others.
	stop()
	before := len(got)
	l.n.Store(1000)
	run(t, "tcp://"+address, l, s)
	got = c2.until("entry 998")
	complete(t, got, again, 999)
	if n := len(got) - before; n > 90+150 {
		t.Errorf("%d messages for 90 entries: more were sent once more than should be", n)
	}
}

// A server takes what it is sent into its buffers and dies without having read a byte. Nobody
// has those entries, and the node stops before it has found the next server: only what it
// keeps on the disk can say that they are to be sent once more.
func TestWhatDiedWithAServerIsSentOnceMoreAfterAStart(t *testing.T) {
	for _, noticed := range []bool{true, false} {
		t.Run(fmt.Sprintf("the break was noticed %v", noticed), func(t *testing.T) {
			l, s := &numbers{}, &noting{noted: make(chan bool, 1)}
			l.n.Store(100)
			first, conn, stop, broke := deaf(t, l, s)
			if noticed {
				first.Close()
				conn.Close()
				<-broke
			}
			stop()
			first.Close()
			conn.Close()
			l.n.Store(120)
			c := collect(t, listen(t, "tcp", first.Addr().String()))
			run(t, "tcp://"+first.Addr().String(), l, s)
			complete(t, c.until("entry 118"), 0, 119)
		})
	}
}

// The mark of a gap can die with a server as entries can, and then stands for more of
// them than are sent once more.
func TestAGapMarkThatDiedWithAServerIsSentOnceMore(t *testing.T) {
	for _, restarted := range []bool{true, false} {
		t.Run(fmt.Sprintf("with a start between %v", restarted), func(t *testing.T) {
			l, s := &numbers{}, &noting{noted: make(chan bool, 1)}
			l.n.Store(500)
			short := func(c *Config) { c.Backlog = 100 }
			first, conn, stop, broke := deaf(t, l, s, short)
			first.Close()
			conn.Close()
			<-broke
			if restarted {
				stop()
			}
			c := collect(t, listen(t, "tcp", first.Addr().String()))
			if restarted {
				run(t, "tcp://"+first.Addr().String(), l, s, short)
			}
			got := c.until("entry 498")
			if !strings.Contains(got[0], `Gap [cerebrum@32473 first="0" last="399" count="400"]`) {
				t.Errorf("the gap is marked with %q", got[0])
			}
			complete(t, got[1:], 400, 499)
		})
	}
}

// A connection that breaks while the mark of a gap is written has not taken it.
func TestAGapMarkThatCouldNotBeSentIsMadeAnew(t *testing.T) {
	l := &numbers{}
	l.n.Store(5000)
	f, err := New(Config{Log: l, Store: new(kv.Memory), Now: time.Now, Logger: slog.New(slog.DiscardHandler), Backlog: 100, Again: 10})
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	there.Close()
	if err := f.catchUp(here, true, new(audit.Cursor), time.Now()); err == nil || f.next != 0 {
		t.Errorf("nothing was taken, and the next entry is %d: %v", f.next, err)
	}
}

// Somebody has to notice that nothing arrives any more: the state says since when and
// why, how much waits, and what is left out; and that all is well once it is.
func TestTheStateSaysWhatWaitsAndSinceWhenItFails(t *testing.T) {
	tcp := listen(t, "tcp", "127.0.0.1:0")
	tcp.Close() // nobody is there
	l, s := &numbers{}, &noting{noted: make(chan bool, 1)}
	l.n.Store(500)
	refused := make(chan string, 1)
	began := time.Now()
	f, _ := begin(t, "tcp://"+tcp.Addr().String(), l, s, func(c *Config) {
		c.Backlog, c.Now = 100, func() time.Time { return began }
		c.Logger = slog.New(slog.NewTextHandler(tell(refused), nil))
	})
	<-refused
	if got := f.State(); got.Behind != 500 || got.LeftOut != 0 || !got.Failing.Equal(began) || got.Err == nil {
		t.Errorf("while nobody is there: %+v", got)
	}
	collect(t, listen(t, "tcp", tcp.Addr().String()))
	for f.State().Err != nil { // it clears once the connection has held for a while
		<-s.noted
		l.n.Add(1)
	}
	for f.State().Behind > 0 {
		<-s.noted
	}
	if got := f.State(); got.LeftOut != 400 || !got.Failing.IsZero() {
		t.Errorf("once the server is there: %+v", got)
	}
}

// A proxy takes the connection, finds nobody behind it, and closes it, each time. That
// is one failure that goes on, not one that begins anew with each connection.
func TestConnectionsThatBreakAtOnceAreOneFailure(t *testing.T) {
	proxy := listen(t, "tcp", "127.0.0.1:0")
	defer proxy.Close()
	l := &numbers{}
	l.n.Store(50)
	var tick atomic.Int64
	f, _ := begin(t, "tcp://"+proxy.Addr().String(), l, new(kv.Memory), func(c *Config) {
		c.Every = time.Hour // until then a connection has not held
		c.Now = func() time.Time { return time.Unix(tick.Add(1), 0) }
	})
	var since time.Time
	for i := range 5 {
		conn, err := proxy.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			since = f.State().Failing
		}
		if i > 1 && (since.IsZero() || !f.State().Failing.Equal(since)) {
			t.Errorf("connection %d: it fails since %v, not %v", i, f.State().Failing, since)
		}
		conn.Close()
	}
}

// Two gaps within what is sent once more, as where a server is slower than the log
// grows: neither mark may be forgotten before the entries behind it are safe.
func TestMarksOfSeveralGapsAreAllSentOnceMore(t *testing.T) {
	f := &Forwarder{c: Config{Again: 100}}
	for _, step := range []struct{ from, next, back int64 }{
		{400, 410, 0},     // 0 to 399 are left out
		{600, 610, 0},     // and 410 to 599
		{610, 690, 0},     // the last 100 that were sent began before the second gap
		{690, 700, 600},   // now they are all behind it
		{700, 900, 800},   // as if there had been none
		{1200, 1210, 810}, // 900 to 1199 are left out: the last 100 are 10 behind and 90 before
	} {
		f.took(step.from, step.next)
		if f.next != step.next || f.back != step.back {
			t.Errorf("%+v: the next entry is %d, and after a break %d", step, f.next, f.back)
		}
	}
	f.c.Now = time.Now
	for range 2 {
		if got := f.leftOut; got != 400+190+300 {
			t.Errorf("%d entries are left out", got)
		}
		f.failed(errors.New("a break"))
		f.took(1200, 1210) // the last mark once more
	}
}

// noting says when it was noted how far a target is.
type noting struct {
	kv.Memory
	noted chan bool
}

func (s *noting) Apply(ops []kv.Op) error {
	err := s.Memory.Apply(ops)
	select {
	case s.noted <- true:
	default:
	}
	return err
}

// deaf forwards to a server that takes what there is and reads nothing. broke tells of
// the first try that failed.
func deaf(t *testing.T, l Log, s *noting, change ...func(*Config)) (server net.Listener, conn net.Conn, stop func(), broke chan string) {
	t.Helper()
	server, broke = listen(t, "tcp", "127.0.0.1:0"), make(chan string, 1)
	conns := make(chan net.Conn, 1)
	go func() { // ends with the listener
		if c, err := server.Accept(); err == nil {
			conns <- c
		}
	}()
	stop = run(t, "tcp://"+server.Addr().String(), l, s, append(change, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(tell(broke), nil))
	})...)
	conn = <-conns
	<-s.noted
	return server, conn, stop, broke
}

func TestWhoIsGoneForTooLongFindsAGapMark(t *testing.T) {
	tcp := listen(t, "tcp", "127.0.0.1:0")
	address := tcp.Addr().String()
	tcp.Close() // nobody is there
	l, s := &numbers{}, new(kv.Memory)
	l.n.Store(500)
	refused := make(chan string, 1)
	run(t, "tcp://"+address, l, s, func(c *Config) {
		c.Backlog, c.Host = 100, "node"
		c.Logger = slog.New(slog.NewTextHandler(tell(refused), nil))
	})
	<-refused
	c := collect(t, listen(t, "tcp", address))
	got := c.until("entry 498")
	if !strings.HasPrefix(got[0], "<108>1 ") || !strings.Contains(got[0], `node cerebrum - Gap [cerebrum@32473 first="0" last="399" count="400"]`) {
		t.Errorf("the gap is marked with %q", got[0])
	}
	complete(t, got[1:], 400, 499)
}

// Entries that were removed from the log before anybody took them leave a mark too.
func TestEntriesThatWereRemovedLeaveAGapMark(t *testing.T) {
	l := &numbers{}
	l.n.Store(300)
	l.first.Store(250)
	tcp := listen(t, "tcp", "127.0.0.1:0")
	c := collect(t, tcp)
	run(t, "tcp://"+tcp.Addr().String(), l, new(kv.Memory))
	got := c.until("entry 298")
	if !strings.Contains(got[0], `Gap [cerebrum@32473 first="0" last="249" count="250"]`) {
		t.Errorf("the gap is marked with %q", got[0])
	}
	complete(t, got[1:], 250, 299)
}

// tell gives the first thing that is logged about a try that failed.
type tell chan string

func (c tell) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "cannot be forwarded") {
		select {
		case c <- string(p):
		default:
		}
	}
	return len(p), nil
}

func TestDatagramsAndStreamsOverUnixSocketsAndUDP(t *testing.T) {
	dir, err := os.MkdirTemp("", "fw-") // a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &numbers{}
	l.n.Store(5)
	stream := filepath.Join(dir, "stream")
	c := collect(t, listen(t, "unix", stream))
	run(t, "unix://"+stream, l, new(kv.Memory))
	complete(t, c.until("entry 4"), 0, 5)

	packets := filepath.Join(dir, "packets")
	for _, at := range []struct{ network, address, target string }{
		{"unixgram", packets, "unix://" + packets}, {"udp", "127.0.0.1:0", "udp://"},
	} {
		p, err := net.ListenPacket(at.network, at.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		if at.network == "udp" {
			at.target += p.LocalAddr().String()
		}
		run(t, at.target, l, new(kv.Memory))
		buf := make([]byte, 1<<16)
		for i := range 5 {
			n, _, err := p.ReadFrom(buf)
			if err != nil || string(buf[:n]) != fmt.Sprintf("entry %d", i) {
				t.Fatalf("%s: %q, %v", at.network, buf[:n], err)
			}
		}
	}
}

func TestOverTLSOnlyToWhoIsTrusted(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server := listen(t, "tcp", "127.0.0.1:0")
	c := collect(t, tls.NewListener(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	l := &numbers{}
	l.n.Store(5)
	target := "tls://" + server.Addr().String()
	refused := make(chan string, 1)
	stop := run(t, target, l, new(kv.Memory), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(tell(refused), nil)) }) // the system's roots
	arrived := make(chan []string, 1)
	go func() { arrived <- c.until("entry 4") }() // ends with the run below at the latest
	select {
	case why := <-refused:
		if !strings.Contains(why, "x509: certificate signed by unknown authority") {
			t.Errorf("a server that nobody trusts is refused because of something else: %s", why)
		}
	case got := <-arrived:
		t.Fatalf("a server that nobody trusts got %q", got)
	}
	stop()
	run(t, target, l, new(kv.Memory), func(c *Config) { c.TLS = &tls.Config{RootCAs: roots} })
	complete(t, c.until("entry 4"), 0, 5)
}

func TestALogThatFailsAndOneThatIsShorter(t *testing.T) {
	s := new(kv.Memory)
	to, err := ParseTarget("udp://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	f := &Forwarder{c: Config{Target: to, Store: s}, back: 50}
	if err := f.note(); err != nil {
		t.Fatal(err)
	}
	l := &numbers{}
	l.n.Store(20)
	if f, err = New(Config{Target: to, Log: l, Store: s}); err != nil || f.next != 20 {
		t.Errorf("of a log of 20 entries the target has %d: %v", f.next, err)
	}
	if err := s.Apply([]kv.Op{{Key: f.key(), Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Target: to, Log: l, Store: s}); err == nil {
		t.Error("a note that is damaged is taken for one")
	}
	broken := errors.New("the disk is broken")
	f = &Forwarder{c: Config{Target: to, Log: failing{l, broken}, Backlog: 100, Store: new(kv.Memory)}}
	if err := f.catchUp(nil, true, new(audit.Cursor), time.Now()); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct {
	Log
	err error
}

func (f failing) Messages(*audit.Cursor, int64, func(int64, []byte) error) error { return f.err }

func TestTargets(t *testing.T) {
	for _, s := range []string{"tcp://log.example:514", "tls://[::1]:6514", "udp://10.0.0.1:514", "unix:///dev/log"} {
		if to, err := ParseTarget(s); err != nil || to.String() != s {
			t.Errorf("%s: %v, %v", s, to, err)
		}
	}
	for _, s := range []string{
		"", "log.example:514", "http://log.example:80", "tcp://log.example", "tcp://:514", "tcp://log.example:0", "tcp://log.example:99999",
		"tcp://log.example:514/path", "tcp://me@log.example:514", "tcp://log.example:514?x=y", "unix://host/path", "unix:path", "tls://", "\x00",
	} {
		if to, err := ParseTarget(s); err == nil {
			t.Errorf("%q is taken for %v", s, to)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("tcp://log.example:514")
	f.Add("unix:///dev/log")
	f.Fuzz(func(t *testing.T, s string) {
		to, err := ParseTarget(s)
		if err != nil {
			return
		}
		if again, err := ParseTarget(to.String()); err != nil || again != to {
			t.Errorf("%q: %v, then %v, %v", s, to, again, err)
		}
	})
}

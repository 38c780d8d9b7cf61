package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

var echo = Method{Protocol: "/test/echo/1", MaxRequest: 4 << 20, MaxResponse: 4 << 20}

func echoes(_ context.Context, _ Caller, request []byte) ([]byte, error) { return request, nil }

func TestCallAndAnswer(t *testing.T) {
	a, b := pair(t)
	Serve(a, echo, nil, echoes)
	for _, size := range []int{0, 1, firstChunk, firstChunk + 1, 4 << 20} {
		want := bytes.Repeat([]byte{7}, size)
		got, err := Call(background(t), b, a.ID(), echo, body(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d back, error %v", size, len(got), err)
		}
	}
}

// The session that the caller builds its request with is the one that the
// handler sees, from the other end; so a proof binds to this very connection.
func TestBothSidesSeeTheSameSession(t *testing.T) {
	a, b := pair(t)
	Serve(a, echo, nil, func(_ context.Context, c Caller, request []byte) ([]byte, error) {
		given := c.Session.Given()
		if !bytes.Equal(request[:32], given[:]) {
			return nil, &Error{Code: Denied, Message: "another connection's challenge"}
		}
		if !c.Session.UseCounter(binary.BigEndian.Uint64(request[32:])) {
			return nil, &Error{Code: Denied, Message: "a replay"}
		}
		return []byte(c.Peer), nil
	})
	var last []byte
	prove := func(s *admission.Session) ([]byte, error) {
		challenge := s.Received()
		last = binary.BigEndian.AppendUint64(challenge[:], s.NextCounter())
		return last, nil
	}
	for range 2 {
		got, err := Call(background(t), b, a.ID(), echo, prove)
		if err != nil || peer.ID(got) != b.ID() {
			t.Fatalf("the handler saw %q, error %v", got, err)
		}
	}
	if _, err := Call(background(t), b, a.ID(), echo, body(last)); !errors.Is(err, &Error{Code: Denied}) {
		t.Errorf("a replay on the same connection: %v", err)
	}
	// The same bytes over a new connection carry the wrong challenge.
	b.Network().ClosePeer(a.ID())
	_, err := Call(background(t), b, a.ID(), echo, body(last))
	if !errors.Is(err, &Error{Code: Denied}) || !strings.Contains(err.Error(), "another connection") {
		t.Errorf("a replay on a new connection: %v", err)
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	a, b := pair(t)
	var log logbook
	secret := "postgres://user:hunter2@db"
	for _, c := range []struct {
		name string
		err  error
		want *Error
		log  string
	}{
		{"malformed", &Error{Code: Malformed, Message: "no"}, &Error{Code: Malformed, Message: "no"}, ""},
		{"denied", &Error{Code: Denied}, &Error{Code: Denied}, ""},
		{"integrity", fmt.Errorf("wrapped: %w", &Error{Code: Integrity, Message: "off"}), &Error{Code: Integrity, Message: "off"}, ""},
		{"terminal tricks", &Error{Code: NotFound, Message: "a\x1b[31mb\r\nc\x00\xff"}, &Error{Code: NotFound, Message: "a [31mb  c ?"}, ""},
		{"a long story", &Error{Code: Busy, Message: strings.Repeat("é", 4000)}, &Error{Code: Busy, Message: strings.Repeat("é", maxMessage/2)}, ""},
		{"any other", errors.New(secret), &Error{Code: Internal, Message: "the request failed"}, secret},
		{"an unknown code", &Error{Code: 99, Message: secret}, &Error{Code: Internal, Message: "the request failed"}, secret},
	} {
		Serve(a, echo, log.logger(), func(context.Context, Caller, []byte) ([]byte, error) { return []byte("x"), c.err })
		_, err := Call(background(t), b, a.ID(), echo, body(nil))
		var got *Error
		if !errors.As(err, &got) || got.Code != c.want.Code || got.Message != c.want.Message {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: the log does not say what happened", c.name)
		}
	}
}

func TestAPanicIsLoudAndContained(t *testing.T) {
	a, b := pair(t)
	var log logbook
	Serve(a, echo, log.logger(), func(context.Context, Caller, []byte) ([]byte, error) { panic("boom") })
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); codeOf(err) != Internal {
		t.Errorf("error is %v, want Internal", err)
	}
	for _, want := range []string{"level=ERROR", "boom", "rpc_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
	Serve(a, echo, log.logger(), echoes)
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestSizesAreBounded(t *testing.T) {
	a, b := pair(t)
	small := Method{Protocol: "/test/small/1", MaxRequest: 10, MaxResponse: 10}
	Serve(a, small, nil, func(_ context.Context, _ Caller, request []byte) ([]byte, error) {
		return make([]byte, 2*len(request)), nil
	})
	if _, err := Call(background(t), b, a.ID(), small, body(make([]byte, 5))); err != nil {
		t.Errorf("control: %v", err)
	}
	if _, err := Call(background(t), b, a.ID(), small, body(make([]byte, 11))); codeOf(err) != Malformed {
		t.Errorf("a request that is too long for the caller's own method: %v", err)
	}
	if _, err := Call(background(t), b, a.ID(), small, body(make([]byte, 6))); codeOf(err) != Internal {
		t.Errorf("a response that is too long for the server's own method: %v", err)
	}
	generous := Method{Protocol: small.Protocol, MaxRequest: 8 << 20, MaxResponse: 10}
	if _, err := Call(background(t), b, a.ID(), generous, body(make([]byte, 8<<20))); codeOf(err) != Malformed {
		t.Errorf("a request that the server finds too long: %v", err)
	}
	stingy := Method{Protocol: small.Protocol, MaxRequest: 10, MaxResponse: 4}
	if _, err := Call(background(t), b, a.ID(), stingy, body(make([]byte, 5))); codeOf(err) != Malformed {
		t.Errorf("a response that the caller finds too long: %v", err)
	}
}

// Many lengths and no bytes: what a length alone can cost is one chunk.
func TestAnAnnouncedLengthCostsLittle(t *testing.T) {
	var memory ledger
	head := binary.BigEndian.AppendUint32(nil, 1<<30)
	if _, err := readBody(bytes.NewReader(head), 1<<30, &memory); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v", err)
	}
	if memory.reserved != firstChunk {
		t.Errorf("%d bytes were taken for a length, want %d", memory.reserved, firstChunk)
	}
	memory = ledger{}
	if _, err := readBody(bytes.NewReader(head), 1<<30-1, &memory); !errors.Is(err, errTooLong) || memory.reserved != 0 {
		t.Errorf("error is %v after %d bytes", err, memory.reserved)
	}
	memory = ledger{limit: 100 << 10}
	full := append(binary.BigEndian.AppendUint32(nil, 1<<20), make([]byte, 1<<20)...)
	if _, err := readBody(bytes.NewReader(full), 1<<20, &memory); !errors.Is(err, errMemory) {
		t.Errorf("beyond the peer's memory: %v", err)
	}
}

type ledger struct{ reserved, limit int }

func (l *ledger) ReserveMemory(size int, _ uint8) error {
	if l.limit > 0 && l.reserved+size > l.limit {
		return network.ErrResourceLimitExceeded
	}
	l.reserved += size
	return nil
}

func TestTooManyCallsOfOnePeer(t *testing.T) {
	a, b := pair(t)
	m := Method{Protocol: "/test/slow/1", MaxRequest: 8 << 20, PerPeer: 2}
	entered, release := make(chan struct{}), make(chan struct{})
	Serve(a, m, nil, func(context.Context, Caller, []byte) ([]byte, error) {
		entered <- struct{}{}
		<-release
		return nil, nil
	})
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := Call(background(t), b, a.ID(), m, body(nil))
			results <- err
		}()
		<-entered
	}
	// Large, so that a caller that insisted on sending it all would hang.
	if _, err := Call(background(t), b, a.ID(), m, body(make([]byte, 8<<20))); codeOf(err) != Busy {
		t.Errorf("the third call: %v, want Busy", err)
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("a call within the limit: %v", err)
		}
	}
	go func() { <-entered }()
	if _, err := Call(background(t), b, a.ID(), m, body(nil)); err != nil {
		t.Errorf("after the others: %v", err)
	}
}

func TestHandlersContextEndsWithTheCaller(t *testing.T) {
	a, b := pair(t)
	entered, ended := make(chan struct{}), make(chan struct{})
	Serve(a, echo, nil, func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(background(t))
	go func() {
		<-entered
		cancel()
	}()
	_, err := Call(ctx, b, a.ID(), echo, body(nil))
	if codeOf(err) != Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want Unavailable because of context.Canceled", err)
	}
	<-ended // or the test hangs: the method's own timeout is 30 s
}

func TestHandlersContextEndsWithTheTimeout(t *testing.T) {
	a, b := pair(t)
	short := Method{Protocol: "/test/short/1", Timeout: 50 * time.Millisecond}
	patient := Method{Protocol: short.Protocol}
	Serve(a, short, nil, func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	_, err := Call(background(t), b, a.ID(), patient, body(nil))
	if codeOf(err) != Unavailable || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want the server's own Unavailable", err)
	}
	Serve(a, patient, nil, func(ctx context.Context, _ Caller, _ []byte) ([]byte, error) {
		<-ctx.Done() // until the caller's timeout resets the stream
		return nil, ctx.Err()
	})
	_, err = Call(background(t), b, a.ID(), short, body(nil))
	if codeOf(err) != Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want Unavailable because of the deadline", err)
	}
}

func TestUnreachablePeers(t *testing.T) {
	a, b := pair(t)
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); codeOf(err) != Unavailable {
		t.Errorf("a peer without the method: %v", err)
	}
	Serve(a, echo, nil, echoes)
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); err != nil {
		t.Errorf("control: %v", err)
	}
	Remove(a, echo)
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); codeOf(err) != Unavailable {
		t.Errorf("after Remove: %v", err)
	}
	if _, err := Call(background(t), b, "nobody", echo, body(nil)); codeOf(err) != Unavailable {
		t.Errorf("a peer that does not exist: %v", err)
	}
}

func TestErrorOfRequestIsTheCallers(t *testing.T) {
	a, b := pair(t)
	called := make(chan struct{}, 1)
	Serve(a, echo, nil, func(context.Context, Caller, []byte) ([]byte, error) {
		called <- struct{}{}
		return nil, nil
	})
	want := errors.New("the key is locked")
	_, err := Call(background(t), b, a.ID(), echo, func(*admission.Session) ([]byte, error) { return nil, want })
	if err != want {
		t.Errorf("error is %v, want the request's own", err)
	}
	if len(called) != 0 {
		t.Error("something was sent")
	}
}

// Without admission there is no session, and without a session no call: neither
// answered nor made.
func TestConnectionsWithoutSessionAreRefused(t *testing.T) {
	a, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var log logbook
	Serve(a, echo, log.logger(), func(context.Context, Caller, []byte) ([]byte, error) {
		t.Error("a stranger's request was handled")
		return nil, nil
	})
	b.Peerstore().AddAddrs(a.ID(), a.Addrs(), time.Hour)
	if _, err := Call(background(t), b, a.ID(), echo, body(nil)); codeOf(err) != Denied {
		t.Errorf("our own side: %v, want Denied", err)
	}
	s, err := b.NewStream(background(t), a.ID(), echo.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	s.Write(make([]byte, 4))
	s.SetReadDeadline(time.Now().Add(15 * time.Second))
	if got, err := io.ReadAll(s); len(got) != 0 || err == nil {
		t.Errorf("a stranger was told %x, error %v", got, err)
	}
	if !strings.Contains(log.String(), "never admitted") {
		t.Errorf("nobody noticed: %s", log.String())
	}
}

// A server that answers nonsense is malformed, not trusted.
func TestFalseAnswers(t *testing.T) {
	a, b := pair(t)
	for _, c := range []struct {
		answer []byte
		want   Code
	}{
		{[]byte{statusOK, 0, 0, 0, 1, 'x'}, 0}, // the control
		{[]byte{99, 0, 0, 0, 0}, Malformed},
		{[]byte{statusOK, 0xff, 0xff, 0xff, 0xff}, Malformed},
		{[]byte{byte(Denied), 0, 0, 0x40, 0x01}, Malformed},
		{[]byte{statusOK, 0, 0, 0, 9, 'x'}, Unavailable},
		{[]byte{statusOK}, Unavailable},
		{nil, Unavailable},
	} {
		a.SetStreamHandler(echo.Protocol, func(s network.Stream) {
			readRequest(s, 10, &ledger{})
			s.Write(c.answer)
			s.Close()
		})
		_, err := Call(background(t), b, a.ID(), echo, body(nil))
		if got := codeOf(err); got != c.want {
			t.Errorf("answer %x: %v, want %v", c.answer, err, c.want)
		}
	}
}

// FuzzReadResponse and FuzzReadRequest: whatever is accepted encodes to the same
// bytes again, and nothing over the limit is accepted.
func FuzzReadResponse(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 'o', 'k'})
	f.Add([]byte{2, 0, 0, 0, 2, 'n', 'o'})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		status, body, err := readResponse(bytes.NewReader(input), 100, &ledger{})
		if err != nil {
			return
		}
		var again bytes.Buffer
		writeResponse(&again, status, body)
		if len(body) > maxMessage || (status == statusOK && len(body) > 100) || !bytes.HasPrefix(input, again.Bytes()) {
			t.Fatalf("%x was read as %d, %x", input, status, body)
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 'o', 'k'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		body, err := readRequest(bytes.NewReader(input), 100, &ledger{})
		if err != nil {
			return
		}
		var again bytes.Buffer
		writeRequest(&again, body)
		if len(body) > 100 || !bytes.HasPrefix(input, again.Bytes()) {
			t.Fatalf("%x was read as %x", input, body)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("fine")
	f.Add("\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if len(got) > maxMessage || printable(got) != got || strings.ContainsAny(got, "\x1b\n\r\u202e\x00") {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	x, y := pair(b)
	Serve(x, echo, nil, echoes)
	for _, size := range []int{100, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			request := body(make([]byte, size))
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := Call(context.Background(), y, x.ID(), echo, request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

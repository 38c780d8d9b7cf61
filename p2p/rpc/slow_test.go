package rpc

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"
)

// RE-03: who trickles its request, or does not read its answer, loses its stream in
// time, and its place with it. The control: until then it has the only place.
func TestSlowCallers(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	narrow := Method{Protocol: "/test/narrow/1", MaxRequest: 100, MaxResponse: 16 << 20, Timeout: 200 * time.Millisecond, PerPeer: 1}
	large := bytes.Repeat([]byte{7}, narrow.MaxResponse)
	called := make(chan string, 64)
	Serve(a, narrow, nil, func(_ context.Context, _ Caller, request []byte) ([]byte, error) {
		called <- string(request)
		if string(request) == "large" {
			return large, nil
		}
		return nil, nil
	})
	patient := narrow
	patient.Timeout = 20 * time.Second
	answered := func() bool {
		_, err := Call(background(t), b, a.ID(), patient, body([]byte("small")))
		if err != nil && codeOf(err) != Busy {
			t.Fatal(err)
		}
		return err == nil
	}
	opens := func(raw []byte) io.Reader {
		s, err := b.NewStream(background(t), a.ID(), narrow.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Reset() })
		s.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := s.Write(raw); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if !answered() {
		t.Fatal("nobody is there, and it is busy")
	}
	<-called

	trickles := opens([]byte{0, 0, 0, 50, 'x'})
	if _, err := io.ReadAll(trickles); err == nil { // or the test hangs
		t.Error("half a request is answered")
	}
	if !answered() {
		t.Error("who trickled holds its place")
	}
	if got := <-called; got != "small" {
		t.Errorf("called with %q", got)
	}

	opens(append([]byte{0, 0, 0, 5}, "large"...)) // and reads nothing
	if got := <-called; got != "large" {
		t.Fatalf("called with %q", got)
	}
	if answered() {
		t.Error("the place is free: the test sees nothing")
	}
	ctx := background(t)
	for tick := time.NewTicker(50 * time.Millisecond); !answered(); <-tick.C {
		if ctx.Err() != nil {
			t.Fatal("who does not read holds its place")
		}
	}
}

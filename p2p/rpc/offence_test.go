package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/p2p/admission"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A caller is blamed for what it alone can have sent, once for each call, and not for
// what was denied, for giving up, or for calling too often.
func TestOffencesOfCallers(t *testing.T) {
	a, b := pair(t)
	told := make(chan *Error, 16)
	s := Server{Host: a, Offended: func(p peer.ID, e *Error) {
		if p != b.ID() {
			t.Errorf("%s is blamed", p)
		}
		told <- e
	}}
	answers := map[string]error{
		"junk":   &Error{Code: Malformed, Message: "it does not decode", Offence: true},
		"theirs": &Error{Code: Malformed, Message: "what others signed is wrong"},
		"denied": &Error{Code: Denied},
		"fault":  errors.New("ours"),
		"fine":   nil,
	}
	small := Method{Protocol: "/test/small/1", MaxRequest: 10, PerPeer: 16} // a call may still end when the next begins
	s.Serve(small, func(_ context.Context, _ Caller, request []byte) ([]byte, error) {
		return nil, answers[string(request)]
	})
	sends := func(raw []byte) {
		stream, err := b.NewStream(background(t), a.ID(), small.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		stream.SetDeadline(time.Now().Add(20 * time.Second))
		stream.Write(raw)
		stream.CloseWrite()
		stream.Read(make([]byte, 1)) // its answer, or its end
		stream.Reset()
	}
	calls := func(what string) { Call(background(t), b, a.ID(), small, body([]byte(what))) }
	for _, honest := range []string{"theirs", "denied", "fault", "fine"} {
		calls(honest)
	}
	sends(nil)
	sends([]byte{0, 0})
	sends([]byte{0, 0, 0, 9, 'x'})
	sends(binary.BigEndian.AppendUint32(nil, 11))
	calls("junk")
	want := map[string]bool{"malformed: a request has at most 10 bytes": true, "malformed: it does not decode": true}
	for range len(want) { // whoever is answered first need not be told of first
		select {
		case e := <-told:
			if !want[e.Error()] {
				t.Errorf("told of %q: somebody is blamed who did nothing, or twice", e)
			}
			delete(want, e.Error())
		case <-background(t).Done():
			t.Fatalf("nobody is blamed for %v", want)
		}
	}
	calls("fine")
	if len(told) != 0 {
		t.Errorf("told of %v", <-told)
	}
}

// Who asks blames an answer that breaks the protocol, and no refusal, whatever it
// says, and no silence.
func TestOffencesOfAnswers(t *testing.T) {
	a, b := pair(t)
	for _, c := range []struct {
		answer  []byte
		offence bool
	}{
		{[]byte{99, 0, 0, 0, 0}, true},
		{[]byte{statusOK, 0xff, 0xff, 0xff, 0xff}, true},
		{[]byte{byte(Denied), 0, 0, 0x40, 0x01}, true},
		{[]byte{byte(Malformed), 0, 0, 0, 1, 'x'}, false},
		{[]byte{byte(Busy), 0, 0, 0, 0}, false},
		{[]byte{statusOK, 0, 0, 0, 9, 'x'}, false},
		{nil, false},
	} {
		a.SetStreamHandler(echo.Protocol, func(s network.Stream) {
			readRequest(s, 10, &ledger{})
			s.Write(c.answer)
			s.Close()
		})
		_, err := Call(background(t), b, a.ID(), echo, func(*admission.Session) ([]byte, error) { return nil, nil })
		var e *Error
		if !errors.As(err, &e) || e.Offence != c.offence {
			t.Errorf("answer %x: %v", c.answer, err)
		}
	}
}

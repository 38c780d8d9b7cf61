package admission

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
)

// script is a stream whose other side has already said everything.
type script struct {
	bytes.Reader
	written bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.written.Write(b) }

type onlyPeer struct {
	transport.CapableConn
	id peer.ID
}

func (p onlyPeer) RemotePeer() peer.ID { return p.id }

// FuzzResponder feeds a responder arbitrary openings: it admits exactly the one
// true form and never writes before it has verified.
func FuzzResponder(f *testing.F) {
	hello := func(credential string) []byte {
		b := append([]byte(opening), make([]byte, challenge)...)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(credential))), credential...)
	}
	f.Add(append(hello("open sesame"), admitted))
	f.Add(hello("open sesame"))
	f.Add(hello("wrong"))
	f.Add([]byte("\x13/multistream/1.0.0\n"))
	f.Add([]byte(opening))
	gate := passphrase("open sesame")
	a, err := New(Config{Gate: gate})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var s script
		s.Reader.Reset(input)
		verified := false
		session := newSession()
		err := a.responderSteps(t.Context(), onlyPeer{}, &s, session, func() { verified = true })
		if !verified && s.written.Len() > 0 {
			t.Fatal("the responder spoke before it had verified")
		}
		good := bytes.HasPrefix(input, []byte(opening)) &&
			bytes.HasPrefix(input[min(len(input), len(opening)+challenge):], []byte("\x00\x0bopen sesame"))
		if verified != good {
			t.Fatalf("verified is %v, want %v", verified, good)
		}
		if err == nil {
			challengeGot := session.Received()
			if !bytes.Equal(challengeGot[:], input[len(opening):len(opening)+challenge]) {
				t.Fatal("the challenge is not the one that was sent")
			}
		}
	})
}

// FuzzDialer does the same for what a responder may answer.
func FuzzDialer(f *testing.F) {
	f.Add(append(make([]byte, challenge), "\x00\x0bopen sesame"...))
	f.Add(append(make([]byte, challenge), 0xff, 0xff))
	f.Add([]byte{})
	gate := passphrase("open sesame")
	a, err := New(Config{Gate: gate})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var s script
		s.Reader.Reset(input)
		err := a.dialerSteps(onlyPeer{}, &s, newSession())
		good := len(input) >= challenge && bytes.HasPrefix(input[challenge:], []byte("\x00\x0bopen sesame"))
		if (err == nil) != good {
			t.Fatalf("error is %v, want good %v", err, good)
		}
		if last := s.written.Bytes()[s.written.Len()-1]; (last == admitted) != good {
			t.Fatal("the dialer told the wrong verdict")
		}
	})
}

// passphrase is a gate with one secret for all.
type passphrase string

func (p passphrase) Credential() []byte  { return []byte(p) }
func (p passphrase) Barred(peer.ID) bool { return false }
func (p passphrase) Check(_ peer.ID, c []byte) error {
	if string(c) != string(p) {
		return ErrRefused
	}
	return nil
}

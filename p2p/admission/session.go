package admission

import (
	"crypto/rand"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
)

// Window is how far counters may arrive out of order: a counter is refused as
// too old once one larger by Window has been used.
const Window = 4096

// Session is what two admitted sides share about one connection: the challenges
// they gave each other, and counters against replay within the connection. It is
// safe for use by many goroutines and ends with the connection.
type Session struct {
	given    [32]byte
	received [32]byte
	next     atomic.Uint64

	mu   sync.Mutex          // guards the fields below
	high uint64              // the largest counter used
	used [Window / 64]uint64 // ring of bits: counter n is at n % Window
}

// newSession draws the challenge that we give.
func newSession() *Session {
	s := new(Session)
	rand.Read(s.given[:]) // crypto/rand never fails: it ends the process instead
	return s
}

// Given is the challenge that we gave the other side: its proofs to us must carry it.
func (s *Session) Given() [32]byte { return s.given }

// Received is the challenge that the other side gave us: our proofs carry it.
func (s *Session) Received() [32]byte { return s.received }

// NextCounter is 1, 2, 3 and so on, one for each of our requests.
func (s *Session) NextCounter() uint64 { return s.next.Add(1) }

// UseCounter takes a counter of the other side. It is true once for each n, in
// any order within Window, and false for zero, for a replay, and for a counter
// that is too old to tell. Call it only with a counter whose proof has been
// verified: a jump ahead makes everything far behind it too old.
func (s *Session) UseCounter(n uint64) bool {
	if n == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.high {
		s.advance(n)
	} else if s.high-n >= Window {
		return false
	}
	word, bit := &s.used[n%Window/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// advance moves the window so that it ends at n, forgetting what falls out.
func (s *Session) advance(n uint64) {
	if n-s.high >= Window {
		s.used = [Window / 64]uint64{}
	} else {
		for i := s.high + 1; i <= n; i++ {
			s.used[i%Window/64] &^= uint64(1) << (i % 64)
			if i == n { // n may be the largest uint64
				break
			}
		}
	}
	s.high = n
}

// SessionOf finds the session of a connection that went through a wrapped
// transport. It is false for any other connection: treat that one as a stranger's.
func SessionOf(c network.Conn) (*Session, bool) {
	if c == nil {
		return nil, false
	}
	var s *Session
	ok := c.As(&s)
	return s, ok && s != nil
}

// Package admission decides who may speak to a node at all.
//
// # Where it stands
//
// A libp2p transport hands a connection to the swarm as soon as the secure
// channel and the stream muxer stand; from then on every application protocol
// answers whoever is on the other side. [Transport] wraps a TCP or QUIC
// transport and holds a connection back until both sides have shown each other
// a credential and found it good. The swarm, and with it identify, ping, the
// DHT and everything of ours, never sees a connection that was refused.
//
// # Vocabulary
//
//   - The dialer is the side that opened the connection, the responder the other.
//   - A credential is opaque here: at most 16 KiB that a [Gate] makes and judges.
//     The secure channel has already proved the peer id of the other side; the
//     gate's duty is to accept a credential only from the peer that it names.
//   - A challenge is 32 random bytes that each side draws for this connection
//     alone. Later proofs of possession carry it, so they die with the connection.
//   - A connection is pending from the end of its handshake until its credential
//     has been verified. Pending connections are few, and bounded per address.
//
// # Wire format
//
// One exchange on the first stream of the connection. Integers are big endian.
//
//	dialer     "/cerebrum/admit/1" LF   exactly these 18 bytes
//	           challenge (32) length (2) credential (length)
//	responder  challenge (32) length (2) credential (length)
//	dialer     0x01
//
// The responder writes nothing, not even the name of the protocol, before it has
// verified the dialer. There is no negotiation and no second attempt: the first
// byte that differs ends the connection. multistream-select is not used here,
// because it speaks first and lets a stranger guess protocols in a loop. The
// whole exchange has three seconds, however slowly the bytes trickle. The dialer
// cannot know whether its last byte arrived: a connection that it holds admitted
// may still be closed by the responder, and then looks like any lost one.
//
// # Before admission
//
// Who was a member and slept too long, and who is invited, has no credential that
// is good. A [Desk] may answer such peers, one request a connection and no more:
//
//	dialer     "/cerebrum/enter/1" LF   exactly these 18 bytes
//	           length (4) request (length)
//	responder  length (4) answer (length)
//
// It has the same three seconds and the same places. The responder writes nothing
// unless its desk finds that the peer is owed an answer, and no address may ask
// more often than [Limits.RequestsPerAddress] allows. The connection ends with the
// answer: nobody is admitted on it.
//
// # Misbehaviour
//
// [Bans] keeps scores of peers that break rules. Scores decay; who has too many is
// barred until they have.
//
// # Under a flood
//
// An honest dialer's credential travels right behind the last message of its
// handshake, so it is pending for a few milliseconds; whoever stays longer is
// silent or slow. When all places are taken, a newcomer waits a moment
// ([Limits.Grace]) for one to become free, and then has all those dropped that
// have been pending for longer than that.
//
// # Use
//
//	a, err := admission.New(admission.Config{Gate: gate})
//	wrapped := a.Wrap(tcpTransport) // give this one to libp2p
//	...
//	session, ok := admission.SessionOf(stream.Conn())
package admission

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
)

// ProtocolID names the exchange; it is the first thing that a dialer writes.
const ProtocolID = "/cerebrum/admit/1"

// MaxCredential is the size of the largest credential, in bytes.
const MaxCredential = 16 << 10

// Errors of an exchange. A dial that failed wraps one of them, or the error of
// its context, or that of the network.
var (
	// ErrRefused reports that our gate did not accept the other side.
	ErrRefused = errors.New("the peer's credential was refused")
	// ErrNotAdmitted reports that the other side ended the exchange before it
	// admitted us; it does not say why.
	ErrNotAdmitted = errors.New("the peer did not admit us")
	// ErrProtocol reports bytes that are not the admission protocol.
	ErrProtocol = errors.New("the peer does not speak the admission protocol")
	// ErrCredentialSize reports that our own gate made a credential over MaxCredential.
	ErrCredentialSize = fmt.Errorf("own credential exceeds %d bytes", MaxCredential)
)

// Gate makes and judges credentials. It is implemented above this package, by
// whoever knows committee records and memberships, and is called from many
// goroutines at once.
type Gate interface {
	// Credential is what we show, at most MaxCredential bytes.
	Credential() []byte
	// Check judges what the other side showed; nil admits. The peer id is proved,
	// the credential is untrusted bytes: Check must refuse one that was made for
	// another peer. It must not keep the slice.
	Check(remote peer.ID, credential []byte) error
	// Barred reports peers that were removed or banned. They are refused as soon
	// as the secure channel has told who they are, before any exchange.
	Barred(remote peer.ID) bool
}

// Limits bound what strangers can make us hold. A zero field takes its default.
type Limits struct {
	// Timeout bounds a whole exchange. Default 3 s.
	Timeout time.Duration
	// Pending is how many inbound connections may wait for their admission at
	// once, over all wrapped transports. Default 16.
	Pending int
	// PendingPerAddress is the same for one remote address: an IPv4 address or an
	// IPv6 /64, which is what one customer is given. Default 2.
	PendingPerAddress int
	// RequestsPerAddress is how many requests to the desk one remote address may make
	// at once, and in each minute after. Default 60.
	RequestsPerAddress int
	// Grace is how long a pending connection keeps its place while others wait
	// for it, and how long these wait. Default 25 ms.
	Grace time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.Timeout <= 0 {
		l.Timeout = 3 * time.Second
	}
	if l.Pending <= 0 {
		l.Pending = 16
	}
	if l.PendingPerAddress <= 0 {
		l.PendingPerAddress = 2
	}
	if l.RequestsPerAddress <= 0 {
		l.RequestsPerAddress = 60
	}
	if l.Grace <= 0 {
		l.Grace = 25 * time.Millisecond
	}
	return l
}

// Config says how to admit. Only Gate is required.
type Config struct {
	Gate   Gate
	Limits Limits
	// Desk answers peers that are not admitted; nil answers nobody.
	Desk Desk
	// Refused, if set, is told of every peer that was not admitted, with [ErrProtocol]
	// itself or [ErrRefused] where it is to blame. It must not block.
	Refused func(remote peer.ID, err error)
	// LocalNetwork exempts loopback from the limits per address, for networks whose
	// nodes all run on this machine. Nothing else changes.
	LocalNetwork bool
	// Log gets refusals at debug level; nil is silent.
	Log *slog.Logger
}

// Admitter holds what the wrapped transports of one host share: the gate, the
// limits and the places of pending connections.
type Admitter struct {
	gate    Gate
	desk    Desk // nil: there is none
	refused func(peer.ID, error)
	paces   paces
	limits  Limits
	local   bool
	log     *slog.Logger
	waiting *room

	answering chan struct{} // one for each request that takes no stranger's place
}

// answersAtOnce is how many requests of peers that are owed an answer are worked
// on beside those that take a stranger's place.
const answersAtOnce = 16

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Admitter, error) {
	if cfg.Gate == nil {
		return nil, errors.New("admission needs a gate")
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	limits := cfg.Limits.withDefaults()
	refused := cfg.Refused
	if refused == nil {
		refused = func(peer.ID, error) {}
	}
	return &Admitter{
		gate:    cfg.Gate,
		desk:    cfg.Desk,
		refused: refused,
		paces:   paces{limits: limits},
		limits:  limits,
		local:   cfg.LocalNetwork,
		log:     log,
		waiting: newRoom(limits),

		answering: make(chan struct{}, answersAtOnce),
	}, nil
}

// Wrap returns t behind this admitter. All of a host's transports must be
// wrapped by the same one; closing the wrapped transport closes t.
func (a *Admitter) Wrap(t transport.Transport) *Transport {
	return &Transport{Transport: t, admitter: a}
}

// Pending is the number of inbound connections that wait for their admission.
func (a *Admitter) Pending() int { return a.waiting.size() }

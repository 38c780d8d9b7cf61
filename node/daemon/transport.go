package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/receipt"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/quorum"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// methods are a validator's services on the wire.
var methods = map[quorum.Method]rpc.Method{
	quorum.Deposit:  service("deposit", validator.MaxDeposit, 64<<10, 30*time.Second, 4),
	quorum.Sign:     service("sign", 128<<10, 64<<10, 10*time.Second, 8),
	quorum.Deliver:  service("deliver", capability.MaxChain+(4<<10), 1<<10, 10*time.Second, 8),
	quorum.Mailbox:  service("mailbox", 64<<10, validator.MaxMailbox, 10*time.Second, 8),
	quorum.Release:  service("release", capability.MaxChain+(128<<10), validator.MaxRelease+(64<<10), 20*time.Second, 32),
	quorum.Newest:   service("latest", capability.MaxChain+(64<<10), validator.MaxLatest, 10*time.Second, 8),
	quorum.Revoke:   service("revoke", capability.MaxChain+(64<<10), 4<<10, 10*time.Second, 8),
	quorum.Erase:    service("erase", 64<<10, 512<<10, 20*time.Second, 4),
	quorum.Hold:     service("hold", 64<<10, 64<<10, 10*time.Second, 4),
	quorum.Keep:     service("keep", 64<<10, 4<<10, 10*time.Second, 4),
	quorum.Fresh:    service("fresh", 1<<10, 8<<10, 5*time.Second, 8),
	quorum.Tail:     service("tail", 1<<10, 4<<20, 10*time.Second, 4),
	quorum.Role:     service("role", 65<<10, 65<<10, 10*time.Second, 8),
	quorum.Bundle:   service("bundle", 1<<20+(4<<10), 1<<20+(4<<10), 20*time.Second, 2),
	quorum.Seen:     service("seen", 1<<10, 16<<10, 5*time.Second, 4),
	quorum.Consent:  service("consent", 64<<10, 1<<10, 10*time.Second, 4),
	quorum.Consents: service("consents", 64<<10, 1152<<10, 10*time.Second, 4),
	quorum.Identity: service("identity", revocation.MaxEntry+(1<<10), 4<<10, 10*time.Second, 4),
	quorum.Proof:    service("proof", receipt.MaxBytes+(1<<10), 1<<20, 10*time.Second, 4),
	quorum.Carry:    service("carry", capability.MaxChain+(64<<10), validator.MaxCarry, 10*time.Second, 8),
}

func service(name string, maxRequest, maxResponse int, timeout time.Duration, perPeer int) rpc.Method {
	return rpc.Method{
		Protocol: protocol.ID("/cerebrum/validator/" + name + "/1"), MaxRequest: maxRequest, MaxResponse: maxResponse,
		Timeout: timeout, PerPeer: perPeer,
	}
}

// transport implements quorum.Transport over the host, and in the process for
// a validator that asks itself.
type transport struct{ n *Node }

func (t *transport) Call(ctx context.Context, server statement.PublicKey, m quorum.Method, build func(quorum.Session) ([]byte, error)) ([]byte, error) {
	if !t.n.running.Load() {
		return nil, fmt.Errorf("%w: no node is running", quorum.ErrUnreachable)
	}
	if server == t.n.home.PeerKey() {
		return t.callSelf(ctx, m, build)
	}
	id, err := peerID(server)
	if err != nil {
		return nil, err
	}
	method := methods[m]
	giveBack, err := t.n.turns.take(ctx, id, method.Protocol, ownTurns(method))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", quorum.ErrUnreachable, err)
	}
	defer giveBack()
	raw, err := t.callPatiently(ctx, id, method, func(s *admission.Session) ([]byte, error) {
		return build(quorum.Session{Server: server, Client: t.n.home.PeerKey(), Challenge: s.Received(), Counter: s.NextCounter})
	})
	switch {
	case err == nil && m == quorum.Release:
		if d := validator.DenialIn(raw); d != nil {
			return nil, fmt.Errorf("%w: %w", quorum.ErrDenied, d)
		}
		return raw, nil
	case err == nil && m == quorum.Erase:
		if d := validator.ErasureDenialIn(raw); d != nil {
			return nil, fmt.Errorf("%w: %w", quorum.ErrDenied, d)
		}
		return raw, nil
	case err == nil:
		return raw, nil
	case errors.Is(err, &rpc.Error{Code: rpc.Denied}):
		return nil, denial(err)
	case errors.Is(err, &rpc.Error{Code: rpc.Malformed}):
		return nil, fmt.Errorf("%w: %w", quorum.ErrRefused, err)
	}
	return nil, fmt.Errorf("%w: %w", quorum.ErrUnreachable, err)
}

// ownTurns is how much this node asks of one validator at a time: somewhat less
// than the validator answers, which counts a call for a moment longer than we do.
func ownTurns(m rpc.Method) int { return max(1, m.PerPeer*3/4) }

// denial is a denial from the wire, with what it says of policy, or of clocks.
func denial(err error) error {
	var e *rpc.Error
	if errors.As(err, &e) {
		if p, ok := validator.ParsePolicyError(e.Message); ok {
			return fmt.Errorf("%w: %w", quorum.ErrDenied, p)
		}
		if e.Message == validator.ErrClock.Error() {
			return fmt.Errorf("%w: %w", quorum.ErrDenied, validator.ErrClock)
		}
	}
	return fmt.Errorf("%w: %w", quorum.ErrDenied, err)
}

// How long a validator may take before its connection is taken for dead: QUIC
// notices the crash of a peer only after half a minute.
const (
	patience     = 3 * time.Second
	patienceMore = 100 << 10 // bytes of a request for each further second
)

// callPatiently calls, and where nothing comes in time closes the connection and
// calls once more over a new one. Every request may be repeated: it is proved
// anew for the new connection, and a validator's services are idempotent.
func (t *transport) callPatiently(ctx context.Context, id peer.ID, m rpc.Method, build func(*admission.Session) ([]byte, error)) ([]byte, error) {
	first, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	raw, err := t.n.call(first, id, m, func(s *admission.Session) ([]byte, error) {
		request, err := build(s)
		timer.Reset(patience + time.Duration(len(request)/patienceMore)*time.Second)
		return request, err
	})
	if err == nil || first.Err() == nil || ctx.Err() != nil {
		return raw, err
	}
	if err := t.n.host.Libp2p().Network().ClosePeer(id); err != nil {
		t.n.log.Debug("closing a connection that went silent", "peer", id, "err", err)
	}
	return t.n.call(ctx, id, m, build)
}

// callSelf stands in for a connection to oneself: one challenge, one use.
func (t *transport) callSelf(ctx context.Context, m quorum.Method, build func(quorum.Session) ([]byte, error)) ([]byte, error) {
	self := t.n.home.PeerKey()
	challenge := [32]byte(statement.GenerateKey().Seed()) // 32 random bytes
	raw, err := build(quorum.Session{Server: self, Client: self, Challenge: challenge, Counter: func() uint64 { return 1 }})
	if err != nil {
		return nil, err
	}
	var used atomic.Bool
	out, err := t.n.judgeCall(ctx, m, validator.Conn{
		Client: self, Challenge: challenge, UseCounter: func(c uint64) bool { return c == 1 && used.CompareAndSwap(false, true) },
	}, raw)
	return out, quorum.Unwired(err)
}

// judgeCall hands a request to this validator's judge, and tells everybody that there
// is something to pull where it took a statement that others wait for.
func (n *Node) judgeCall(ctx context.Context, m quorum.Method, c validator.Conn, raw []byte) ([]byte, error) {
	if n.judge == nil {
		return nil, validator.ErrUnavailable
	}
	out, err := quorum.Judge(ctx, n.judge, m, c, raw)
	switch m {
	case quorum.Revoke, quorum.Erase, quorum.Keep, quorum.Identity:
		if err == nil {
			n.hintEverybody()
		}
	}
	return out, err
}

// serveValidator offers a validator's services to members.
func (n *Node) serveValidator() {
	if n.judge == nil {
		return
	}
	for name, m := range methods {
		n.server().Serve(m, func(ctx context.Context, c rpc.Caller, raw []byte) ([]byte, error) {
			client, err := peerKey(c.Peer)
			if err != nil {
				return nil, err
			}
			out, err := n.judgeCall(ctx, name, validator.Conn{Client: client, Challenge: c.Session.Given(), UseCounter: c.Session.UseCounter}, raw)
			var d *validator.Denied
			switch {
			case !errors.As(err, &d):
			case name == quorum.Erase:
				return d.EraseReply(), nil
			default:
				return d.Reply(), nil
			}
			return out, codeOf(err)
		})
	}
}

// codeOf turns a judge's error into one for the wire. What was denied is not
// explained to somebody who may not know.
func codeOf(err error) error {
	code := rpc.Internal
	var byPolicy *validator.PolicyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &byPolicy):
		return &rpc.Error{Code: rpc.Denied, Message: byPolicy.Error()}
	case errors.Is(err, validator.ErrClock):
		return &rpc.Error{Code: rpc.Denied, Message: validator.ErrClock.Error()}
	case errors.Is(err, validator.ErrDenied):
		return &rpc.Error{Code: rpc.Denied, Message: "denied"}
	case errors.Is(err, validator.ErrMalformed):
		code = rpc.Malformed
	case errors.Is(err, validator.ErrUnavailable):
		code = rpc.Unavailable
	default:
		return err // logged here, neutral words there
	}
	return &rpc.Error{Code: code, Message: err.Error(), Offence: errors.Is(err, validator.ErrEncoding)}
}

// hint says that there is something to pull. An empty one is of statements: its
// answer means that the peer has asked the validators since. One of [hintRecords]
// is of committee records: the peer has asked the hinting one since. One of
// [hintMail] is answered at once.
var hint = rpc.Method{Protocol: "/cerebrum/hint/1", MaxRequest: 1, MaxResponse: 1, Timeout: 10 * time.Second, PerPeer: 2}

func (n *Node) serveHint() {
	n.server().Serve(hint, func(ctx context.Context, c rpc.Caller, request []byte) ([]byte, error) {
		if len(request) == 1 && request[0] == hintRecords {
			if err := n.catchUp(ctx, c.Peer); err != nil {
				return nil, &rpc.Error{Code: rpc.Unavailable, Message: "the records were not taken"}
			}
			return nil, nil
		}
		if len(request) == 1 && request[0] == hintMail {
			pokeOnce(n.carry.poke)
			return nil, nil
		}
		if err := n.hinted.join(ctx, n.tracker.Refresh); err != nil {
			return nil, &rpc.Error{Code: rpc.Unavailable, Message: "not enough validators answer"}
		}
		return nil, nil
	})
}

package daemon

import (
	"context"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// rotateMethods are a validator's services for other validators.
var rotateMethods = map[validator.RotateMethod]rpc.Method{
	validator.RotatePlan:   rotateService("plan", 64<<10, 64<<10, 10*time.Second),
	validator.RotatePage:   rotateService("page", 64<<10, validator.MaxSubs+(64<<10), 60*time.Second),
	validator.RotateReveal: rotateService("reveal", 64<<10, 64<<10, 10*time.Second),
	validator.RotateBodies: rotateService("bodies", 16<<10, 4<<20, 30*time.Second),
	validator.RotateHave:   rotateService("have", 64<<10, 2<<20, 10*time.Second),
	validator.RotateChains: rotateService("chains", 1<<10, validator.MaxMailbox, 10*time.Second),

	validator.RotateAccepted: rotateService("accepted", 1<<10, 40*validator.MaxAccepted, 10*time.Second),
}

func rotateService(name string, maxRequest, maxResponse int, timeout time.Duration) rpc.Method {
	return rpc.Method{
		Protocol: protocol.ID("/cerebrum/rotation/" + name + "/1"), MaxRequest: maxRequest, MaxResponse: maxResponse,
		Timeout: timeout, PerPeer: 4,
	}
}

// serveRotation answers the other validators. Who may ask, the judge decides.
func (n *Node) serveRotation() {
	if n.judge == nil {
		return
	}
	for name, m := range rotateMethods {
		n.server().Serve(m, func(ctx context.Context, c rpc.Caller, raw []byte) ([]byte, error) {
			client, err := peerKey(c.Peer)
			if err != nil {
				return nil, err
			}
			out, err := n.judge.AnswerRotate(ctx, validator.Conn{Client: client}, name, raw)
			return out, codeOf(err)
		})
	}
}

// rotationPeers implements validator.Peers over the host.
type rotationPeers struct{ n *Node }

func (p rotationPeers) Rotate(ctx context.Context, server statement.PublicKey, m validator.RotateMethod, request []byte) ([]byte, error) {
	if !p.n.running.Load() {
		return nil, fmt.Errorf("no node is running")
	}
	id, err := peerID(server)
	if err != nil {
		return nil, err
	}
	return p.n.call(ctx, id, rotateMethods[m], func(*admission.Session) ([]byte, error) { return request, nil })
}

// runRotation brings this validator's shares to each new record.
func (n *Node) runRotation(ctx context.Context) error {
	if n.rotation == nil {
		return nil
	}
	return n.rotation.Run(ctx)
}

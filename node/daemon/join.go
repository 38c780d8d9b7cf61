package daemon

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/p2p/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// nobody is the gate of a host that only asks.
type nobody struct{}

func (nobody) Credential() []byte          { return nil }
func (nobody) Barred(peer.ID) bool         { return false }
func (nobody) Check(peer.ID, []byte) error { return errors.New("this node is joining a network") }

// joinRounds is how often a newcomer asks again because the committee changed
// while it was asking.
const joinRounds = 3

// Join redeems an invitation for a home and returns the network file that the home
// is to adopt. It may be repeated: an invitation stays good for the peer that
// redeemed it first, until it expires. Nothing is written.
func Join(ctx context.Context, h *home.Home, v *trust.Invite, i *trust.Invitation, log *slog.Logger, now func() time.Time) (*trust.File, error) {
	key, err := peerPrivate(h.PeerSeed())
	if err != nil {
		return nil, err
	}
	listen, err := h.Config.Multiaddrs()
	if err != nil {
		return nil, err
	}
	asking, err := host.New(host.Config{Key: key, Listen: listen, Gate: nobody{}, Log: log, LocalNetwork: h.Config.Local})
	if err != nil {
		return nil, err
	}
	defer asking.Close() // it never listens; its addresses say what may be dialled
	return join(ctx, h, v, i, func(ctx context.Context, to trust.Reach, request []byte) ([]byte, error) {
		info, err := addrInfo(to.Peer, to.Addresses)
		if err != nil {
			return nil, err
		}
		return asking.Ask(ctx, info, request)
	}, now)
}

func join(ctx context.Context, h *home.Home, v *trust.Invite, i *trust.Invitation, ask asker, now func() time.Time) (*trust.File, error) {
	who := h.Principals()[0].Identity.ID()
	redemption, err := v.Redeem(i, h.PeerKey(), who)
	if err != nil {
		return nil, err
	}
	visitor := &visitor{ask: ask, right: validator.EnterRequest{Invitation: v.Invitation, Inviter: v.Inviter, Redemption: redemption}}
	s, err := statement.Parse(v.Invitation)
	if err != nil {
		return nil, err
	}
	member, nonce := trust.Member{Peer: h.PeerKey(), Identity: who, Role: i.Role}, trust.MemberNonce(s.ID())
	chain, err := visitor.firstChain(ctx, v, i)
	if err != nil {
		return nil, err
	}
	for round := 1; ; round++ {
		if _, _, err := visitor.pullAll(ctx, reaches(chain.Current()), chain.Current().ID(), addTo(chain)); ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		if err := chain.Holds(i.Pin); err != nil {
			return nil, fault.Wrap(fault.Integrity, err, "do not use it; ask who invited you", "the validators show another history than the invitation")
		}
		record := chain.Current()
		if err := record.Live(now()); err != nil {
			return nil, fault.Wrap(fault.Denied, err, "try again when it is renewed, and look at this machine's clock", "the network %s", record.Name)
		}
		draft, err := record.DraftMembership(member, nonce, now())
		if err != nil {
			return nil, err
		}
		raw, asked := visitor.sign(ctx, record, draft)
		if raw != nil {
			return fileOf(chain, raw, v.Policy), nil
		}
		if asked.refusals[validator.RefusedBehind] == 0 || round == joinRounds {
			return nil, asked.fault(record)
		}
	}
}

// firstChain asks the validators that an invitation names for the network's records
// from the first one, until one shows a history with the pinned record in it.
func (v *visitor) firstChain(ctx context.Context, invite *trust.Invite, i *trust.Invitation) (*trust.Chain, error) {
	var lies, silence []error
	for _, from := range invite.Validators {
		var chain *trust.Chain
		_, err := v.pull(ctx, from, statement.ID{}, func(page [][]byte) error {
			if chain == nil {
				genesis, err := trust.Genesis(page[0])
				if err != nil {
					return err
				}
				if genesis.Network() != i.Network {
					return errors.New("it shows another network")
				}
				chain, page = trust.Fixed(genesis), page[1:]
			}
			return addTo(chain)(page)
		})
		var refused *refusedError
		switch {
		case errors.As(err, &refused) && refusalFault(refused.why) != nil:
			return nil, refusalFault(refused.why)
		case chain == nil:
			silence = append(silence, err)
		case chain.Holds(i.Pin) == nil:
			return chain, nil // what comes after is asked of others too
		default:
			lies = append(lies, err, chain.Holds(i.Pin))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if len(lies) > 0 {
		return nil, fault.Wrap(fault.Integrity, errors.Join(lies...), "do not use it; ask who invited you", "the validators show another history than the invitation")
	}
	return nil, fault.Wrap(fault.Unavailable, errors.Join(silence...), "look at the network, and ask who invited you whether it may: a validator says nothing to whom it does not know",
		"none of the %d validators in the invitation answered", len(invite.Validators))
}

func addTo(chain *trust.Chain) func([][]byte) error {
	return func(page [][]byte) error {
		if _, err := chain.Add(page...); err != nil && !errors.Is(err, trust.ErrFork) {
			return err
		}
		return nil
	}
}

// fileOf is the network file of a newcomer.
func fileOf(chain *trust.Chain, membership, policy []byte) *trust.File {
	f := &trust.File{Format: trust.FileFormat, Memberships: [][]byte{membership}, Policy: policy}
	for r, ok := chain.Current(), true; ok; r, ok = r.Before() {
		f.Records = append(f.Records, r.Raw())
	}
	slices.Reverse(f.Records)
	return f
}

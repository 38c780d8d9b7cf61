package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/p2p/admission"
	"cerebrum.dev/cerebrum/p2p/rpc"
	"github.com/libp2p/go-libp2p/core/peer"
)

// This file has how committee records, and proofs that a validator signed two for
// one version, travel between members. The receiver verifies everything: it does
// not matter who sends it.

// records asks for what is known of the network's committee after a record.
var records = rpc.Method{
	Protocol: "/cerebrum/records/1", MaxRequest: 1 << 10, MaxResponse: 8 << 20, Timeout: 20 * time.Second, PerPeer: 2,
}

const (
	maxRecordPage = 256     // records
	maxProofPage  = 1 << 20 // bytes of proofs in one page, but at least one proof
	maxPages      = 32      // of one peer at a time; what is left comes the next time
	askEvery      = time.Hour
	reviewEvery   = time.Minute
)

// recordsRequest names what the caller has.
type recordsRequest struct {
	_     struct{}            `cbor:",toarray"`
	After statement.ID        // its newest record, or the last one of the page before
	Limit uint16              // of records; at most 256 are sent
	Proof statement.ID        // the last proof of the page before; zero: from the first
	Peer  statement.PublicKey // the last member of the page before; zero: from the first
}

// recordsPage is an answer. Empty lists end it.
type recordsPage struct {
	_       struct{} `cbor:",toarray"`
	Records [][]byte // oldest first
	Proofs  [][]byte // in the order of their ids
	Members [][]byte // memberships in the order of their peers, once there are no more records
}

// serveRecords answers those who were admitted: members, and validators also when
// the newest record that they or we know has expired.
func (n *Node) serveRecords() {
	n.server().Serve(records, func(_ context.Context, _ rpc.Caller, raw []byte) ([]byte, error) {
		return n.answerRecords(raw)
	})
}

func (n *Node) answerRecords(raw []byte) ([]byte, error) {
	var r recordsRequest
	if err := statement.Unmarshal(raw, &r); err != nil {
		return nil, &rpc.Error{Code: rpc.Malformed, Message: "the request does not decode", Offence: true}
	}
	page := recordsPage{Records: n.trust.After(r.After, min(int(r.Limit), maxRecordPage))}
	size := 0
	for _, p := range n.trust.Proofs() {
		if id := p.ID(); string(id[:]) <= string(r.Proof[:]) {
			continue
		}
		raw := p.Bytes()
		if size += len(raw); size > maxProofPage && len(page.Proofs) > 0 {
			break
		}
		page.Proofs = append(page.Proofs, raw)
	}
	if len(page.Records) == 0 {
		var err error
		if page.Members, err = n.membersAfter(r.Peer, maxMemberPage); err != nil {
			return nil, err
		}
	}
	return statement.Marshal(page)
}

// recordSource sends a page of records for a request.
type recordSource func(ctx context.Context, request []byte) ([]byte, error)

// catchUp asks a peer for the records and proofs that are missing here.
func (n *Node) catchUp(ctx context.Context, p peer.ID) error {
	return n.pullRecords(ctx, func(ctx context.Context, request []byte) ([]byte, error) {
		return n.call(ctx, p, records, func(*admission.Session) ([]byte, error) { return request, nil })
	})
}

// pullRecords takes page after page until nothing new comes. What was verified
// stays, whatever comes after it.
func (n *Node) pullRecords(ctx context.Context, from recordSource) error {
	known, enrolled := len(n.trust.Proofs()), 0
	defer func() {
		accused := len(n.trust.Proofs()) > known
		if accused {
			n.log.Error("a validator signed two committee records for one version; the proof is kept")
		}
		if n.running.Load() && (accused || enrolled > 0) { // a new record is told by recordChanged
			n.hintOfRecords()
		}
	}()
	ask := recordsRequest{After: n.trust.Current().ID(), Limit: maxRecordPage}
	for range maxPages {
		request, err := statement.Marshal(ask)
		if err != nil {
			return err
		}
		raw, err := from(ctx, request)
		if err != nil {
			return err
		}
		var page recordsPage
		if err := statement.Unmarshal(raw, &page); err != nil {
			return fmt.Errorf("a page of committee records: %w", err)
		}
		count, err := n.takePage(&page, &ask)
		enrolled += count
		if err != nil || len(page.Records)+len(page.Proofs)+len(page.Members) == 0 {
			return err
		}
	}
	return nil
}

// takePage verifies and keeps a page, and sets where the next one begins. It
// counts the memberships that are new.
func (n *Node) takePage(page *recordsPage, ask *recordsRequest) (enrolled int, err error) {
	if len(page.Records) > maxRecordPage {
		return 0, errors.New("a page has more committee records than were asked for")
	}
	if len(page.Records) > 0 {
		if _, err := n.trust.Add(page.Records...); err != nil && !errors.Is(err, trust.ErrFork) {
			return 0, err
		}
		last, err := statement.Parse(page.Records[len(page.Records)-1])
		if err != nil {
			return 0, err
		}
		ask.After = last.ID()
	}
	for _, raw := range page.Proofs {
		p, err := n.trust.AddProof(raw)
		if err != nil {
			return 0, err
		}
		ask.Proof = p.ID()
	}
	for _, raw := range page.Members {
		m, _, err := n.readMembership(raw)
		if err != nil {
			return enrolled, fmt.Errorf("a membership: %w", err)
		}
		isNew, err := n.keepMembership(raw, m)
		if err != nil {
			return enrolled, err
		}
		if isNew {
			enrolled++
		}
		ask.Peer = m.Peer
	}
	return enrolled, nil
}

// askSoon has every validator asked for records. It never blocks.
func (n *Node) askSoon() {
	select {
	case n.behind <- struct{}{}:
	default:
	}
}

// askForRecords asks the validators of the newest record at the start, when
// somebody serves a record that is not known here, and every hour, until ctx ends.
func (n *Node) askForRecords(ctx context.Context) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		n.askValidators(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-n.behind:
		case <-tick.C:
		}
	}
}

func (n *Node) askValidators(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, records.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, info := range n.bootstrap() {
		wg.Go(func() {
			if err := n.catchUp(ctx, info.ID); err != nil && ctx.Err() == nil {
				n.log.Debug("asking for committee records", "peer", info.ID, "err", err)
			}
		})
	}
	wg.Wait()
}

// followRecords has the node follow each new record, and looks every minute for
// members whose time is over, until ctx ends.
func (n *Node) followRecords(ctx context.Context) error {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	last := n.trust.Current()
	for {
		changed, said := n.trust.Changed(), n.set.Watch()
		n.gate.expel()
		if now := n.trust.Current(); now != last {
			n.recordChanged(now)
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-said:
		case <-tick.C:
			n.gate.review()
		}
	}
}

// recordCommittee logs that this home follows another committee record.
func (n *Node) recordCommittee(ctx context.Context, now *trust.Committee) error {
	id := now.ID()
	return n.record(ctx, event.Committee, event.OK, event.Act{Grant: id[:], Detail: fmt.Sprintf("root epoch %d, version %d", now.RootEpoch, now.Version)})
}

// recordChanged is called, on one goroutine, after the newest record became
// another one: here everything is set again that was computed from a record.
// Everything else looks the record up when it needs it.
func (n *Node) recordChanged(now *trust.Committee) {
	n.log.Info("the committee has a new record", "root epoch", now.RootEpoch, "version", now.Version, "validator", n.seat() >= 0)
	if err := n.recordCommittee(context.Background(), now); err != nil {
		n.log.Error("the new committee record is not in the audit log", "err", err)
	}
	n.changed.Store(n.now().UnixNano())
	n.learnValidators()
	n.gate.review()
	n.tracker.Hint()
	n.outbox.poke()
	n.hintOfRecords()
}

package daemon

import (
	"context"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/people"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// AuditPrune implements api.Audit. A legal hold on anything keeps the whole log: which
// entries are evidence of what, nobody here can say.
func (n *Node) AuditPrune(ctx context.Context, r api.AuditPruneRequest) (*api.AuditPruned, error) {
	if n.trust != nil && len(n.holds()) > 0 {
		if err := n.record(ctx, event.Prune, event.Denied, event.Act{Rule: "legal-hold"}); err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Denied, "see `cerebrum hold list`; entries can be removed once no hold is in force", "the log may be evidence under a legal hold")
	}
	log, note := n.audit.Log(), []byte(r.Checkpoint)
	if r.Ask {
		return &api.AuditPruned{First: log.First()}, nil
	}
	archived, err := log.Binding().OpenCheckpoint(note)
	if err == nil {
		err = log.Confront(note)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "export the log again", "the archive is not of this log")
	}
	if err := log.Rotate(ctx); err != nil { // so that the next time this one's entries can go
		return nil, err
	}
	since, err := n.audit.Since(time.UnixMilli(r.Before))
	if err != nil {
		return nil, err
	}
	before, first := log.First(), log.First()
	for _, s := range log.Segments() {
		if s <= min(since, archived.N) {
			first = max(first, s)
		}
	}
	if first == before {
		return &api.AuditPruned{First: first}, nil
	}
	act := event.Act{Detail: fmt.Sprintf("entries before %d, archived under the checkpoint of %d", first, archived.N)}
	if err := n.record(ctx, event.Prune, event.OK, act); err != nil {
		return nil, err
	}
	if err := log.Prune(first); err != nil {
		return nil, fault.Wrap(fault.Failed, err, "see `cerebrum status` for how far the log is witnessed, and try again", "nothing was removed")
	}
	n.log.Info("entries of the audit log were removed", "before", first, "archived", archived.N)
	return &api.AuditPruned{Removed: first - before, First: first}, nil
}

// runPeriods ends a file of the log where a quarter ends, so that a quarter can be
// removed by itself.
func (n *Node) runPeriods(ctx context.Context) error {
	for {
		if err := n.endPeriod(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("ending a period of the audit log", "err", err)
		}
		next := time.NewTimer(people.QuarterOf(n.now()).End().Sub(n.now()))
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
	}
}

// endPeriod ends the log's newest file if it has entries of an earlier quarter.
func (n *Node) endPeriod(ctx context.Context) error {
	since, err := n.audit.Since(people.QuarterOf(n.now()).Begin())
	if err != nil {
		return err
	}
	segments := n.audit.Log().Segments()
	if since <= segments[len(segments)-1] {
		return nil
	}
	return n.audit.Log().Rotate(ctx)
}

// prunedLimit says what a node no longer knows because its log was pruned.
func (n *Node) prunedLimit() []string {
	if first := n.audit.Log().First(); first > 0 {
		return []string{fmt.Sprintf("what the first %d entries of this node's log said: they were archived and removed", first)}
	}
	return nil
}

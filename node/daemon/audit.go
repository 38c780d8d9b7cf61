package daemon

import (
	"context"
	"fmt"
	"os"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// AuditExport implements api.Service. The export has its own entry in it.
func (n *Node) AuditExport(ctx context.Context, r api.AuditExportRequest) (*api.AuditExported, error) {
	if r.Format != formatBundle && r.Format != formatTiles {
		return nil, fault.New(fault.Usage, "see `cerebrum audit export --help`", "the format is %s or %s, not %q", formatBundle, formatTiles, r.Format)
	}
	x, err := n.evidence(ctx, r)
	if err != nil {
		return nil, err
	}
	binding := n.audit.Log().Binding()
	by, of, err := x.Cosigned(binding)
	if err != nil { // nor would an auditor accept it
		return nil, fault.Wrap(fault.Failed, err, "nothing was written; see `cerebrum status` for how far the log is witnessed", "the export")
	}
	var lost, damaged int64
	x.Lost = func(index int64, why error) {
		if lost++; why != nil {
			damaged++
			n.log.Error("what stands beside an entry of the audit log was not written with it; it is exported as lost", "entry", index, "err", why)
		}
	}
	if r.Format == formatTiles {
		err = evidence.WriteTiles(r.Into, n.audit, *x)
	} else {
		err = writeBundle(r.Into, n, *x)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "nothing was written; run `cerebrum audit export` again once that is settled", "the export")
	}
	out := &api.AuditExported{
		File: r.Into, Format: r.Format, Origin: binding.Origin, Size: x.Checkpoint.N, First: x.First, Entries: x.Checkpoint.N - x.First,
		Root: fmt.Sprintf("%x", x.Checkpoint.Hash[:]), Witnesses: len(by), Of: of, Disclosing: r.Format == formatBundle && !r.Withhold,
		Lost: lost, Damaged: damaged,
	}
	if n.trust != nil {
		out.Network = n.trust.Network().String()
	}
	return out, nil
}

// Formats of an export.
const (
	formatBundle = "bundle"
	formatTiles  = "tiles"
)

// evidence logs that the log is exported and says what is to be exported.
func (n *Node) evidence(ctx context.Context, r api.AuditExportRequest) (*evidence.Export, error) {
	if err := n.record(ctx, event.Export, event.OK, event.Act{Detail: "the audit log, as " + r.Format}); err != nil {
		return nil, err
	}
	x := &evidence.Export{Withhold: r.Withhold}
	var err error
	if x.Checkpoint, err = n.audit.Log().Checkpoint(ctx); err != nil {
		return nil, err
	}
	n.askWitnesses(ctx, x.Checkpoint.N)
	if c := n.audit.Log().Cosigned(); r.Cosigned || c.N >= x.Checkpoint.N {
		if c.Note == nil {
			return nil, fault.New(fault.Unavailable, "wait until validators have seen the log, or leave --cosigned out", "no witness has signed a checkpoint of this log yet")
		}
		x.Checkpoint = c
	}
	if r.Since > 0 && r.Format == formatBundle {
		if x.First, err = n.audit.Since(time.UnixMilli(r.Since)); err != nil {
			return nil, err
		}
		x.First = min(x.First, x.Checkpoint.N)
	}
	x.First = n.audit.Log().Begins(x.First)
	if n.trust == nil {
		return x, nil
	}
	x.Network = evidence.Records(n.trust.Current())
	if raw, ok := n.membership(n.home.PeerKey()); ok {
		x.Network = append(x.Network, raw)
	}
	return x, nil
}

// writeBundle fills a file that is there, durably.
func writeBundle(path string, n *Node, x evidence.Export) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := evidence.WriteBundle(f, n.audit, x); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

package daemon

import (
	"fmt"
	"path/filepath"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/witness"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// restoredFor is how long it is a problem that this witness was restored from an old
// copy: until then the logs that it witnessed will have come by.
const restoredFor = 24 * time.Hour

// disowned is the fault of everything that must be recorded, once the log has been
// found not to continue what it signed.
func (n *Node) disowned(err error) error {
	hint := fmt.Sprintf("stop the node and put the newest copy of %s in its place; where that is lost, keep the folder as evidence and use a new home",
		filepath.Join(n.home.Dir, "audit"))
	return fault.Wrap(fault.Integrity, err, hint, "nothing is done that cannot be recorded")
}

// describeWitnessing says how far the audit log is witnessed, and against whose logs
// there is evidence.
func (n *Node) describeWitnessing(out *api.Status) error {
	w := &n.witnessing
	s, err := w.collector.Standing(n.trust.Current())
	if err != nil {
		return err
	}
	out.Witnessed = &api.Witnessed{Cosigned: s.Cosigned, Have: s.Have, Need: s.Need, Of: s.Of, BehindSeconds: s.Behind.Seconds(), Refused: s.Refused}
	if s.Have >= s.Need {
		age := s.Age.Seconds()
		out.Witnessed.AgeSeconds = &age
	}
	if err := n.audit.Log().Disowned(); err != nil {
		f := fault.Of(n.disowned(err))
		out.Problems = append(out.Problems, f.Error()+": "+f.Hint)
	} else if s.Behind > witness.Lag {
		out.Problems = append(out.Problems, fmt.Sprintf("the audit log has waited %d minutes for %d of %d validators to cosign it: see whether they run and can be reached",
			int(s.Behind.Minutes()), s.Need, s.Of))
	}
	for _, e := range w.docket.All() {
		out.Forks = append(out.Forks, api.Fork{PeerID: PeerID(e.Binding.Peer), Says: e.String()})
		if e.Binding.Peer == n.home.PeerKey() {
			out.Problems = append(out.Problems, "there is evidence against this home's own audit log, and no validator cosigns it any more: keep the folder, and use a new home")
		}
	}
	for _, path := range w.docket.Damaged() {
		out.Problems = append(out.Problems, fmt.Sprintf("the evidence in %s is damaged: restore the file, or move it away", path))
	}
	if w.witness == nil {
		return nil
	}
	if at := w.witness.RolledBack(); !at.IsZero() {
		out.Witnessed.Restored = at.UTC().Format(time.RFC3339)
		if age := n.now().Sub(at); age < restoredFor {
			out.Problems = append(out.Problems, "this validator was shown its own signatures on checkpoints that it does not remember: it was restored from an old copy, "+
				"and may contradict itself about logs that have not come by since; if it was not, replace it in the next committee record")
		}
	}
	return nil
}

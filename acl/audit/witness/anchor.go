package witness

import "cerebrum.dev/cerebrum/crypto/statement"

// Anchor is what a validator notes in its own log of a checkpoint that it cosigned.
type Anchor struct {
	Origin string
	// Sum commits to the checkpoint, its origin, size and root. It names nobody to
	// those who do not have the checkpoint.
	Sum statement.ID
}

// AnchorOf is the commitment to a checkpoint that anchors carry, whatever signatures
// stand on it: an auditor who has both looks for the one in the other's log.
func AnchorOf(checkpoint []byte) statement.ID {
	return statement.Hash("audit-anchor", []byte(text(checkpoint)))
}

// Anchors are anchors of what changed after the change with a number, one for each
// log but one's own, at most so many. next is the number to go on with, see
// [Witness.Since]. Whoever asks once in a minute, as the package comment wants, makes
// one entry for a log and minute.
func (w *Witness) Anchors(own string, change uint64, most int) (due []Anchor, next uint64, err error) {
	checkpoints, next, err := w.Since(change, most)
	for _, c := range checkpoints {
		if origin := originOf(c); origin != own {
			due = append(due, Anchor{Origin: origin, Sum: AnchorOf(c)})
		}
	}
	return due, next, err
}

// Changes is the number of the last change: [Witness.Since] and [Witness.Anchors] of
// it give what comes after now.
func (w *Witness) Changes() uint64 {
	w.changing.Lock()
	defer w.changing.Unlock()
	return w.changes
}

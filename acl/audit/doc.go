// Package audit is the tamper-evident log of what a node or validator decided.
//
// An act that must leave evidence is logged first and happens after [Log.Append]
// has returned nil; then the evidence is on the disk. When it cannot be logged
// it does not happen.
//
// The log is a Merkle tree (RFC 6962) of opaque leaves; package event says what is in
// them, and package journal joins both. Its formats are those of C2SP: checkpoints, cosignatures, proofs of
// inclusion and tiles can be verified with other tools.
//
// # Words
//
//	origin      names a log in its checkpoints; it follows from the peer key: [Origin]
//	checkpoint  an origin, a size and a root, signed with the log's own key
//	binding     the statement, signed by the peer key and by the log's key, that the
//	            origin and the key belong to the peer: [Bind], [VerifyBinding]
//	cosigned    a checkpoint that witnesses signed too: [Log.Cosign]
//
// # Files
//
// A log is a folder:
//
//	binding          whose log it is
//	checkpoint       the newest checkpoint, a C2SP signed note, replaced as a whole
//	cosigned         the newest checkpoint with cosignatures
//	entries-INDEX    records, appended; the next file begins after 64 MiB, and is
//	                 named by the index of its first record; layout in record.go
//	hashes           the tree's stored hashes, derived, never flushed, made anew by Open;
//	                 of removed records all that is left, flushed before they go
//	pruned           where the log begins, once its oldest records were removed
//	lock             held by whoever has the log open
//
// # Rules
//
//  1. Only sizes that are already durable are signed. A checkpoint of records that
//     a crash takes back would be a fork for ever.
//  2. [Open] reads every record and compares the root with the checkpoint's.
//  3. Nothing below a checkpoint is ever cut off. Behind it only what a crash left
//     unfinished is: never where a record of a later write follows, never where
//     bytes changed rather than failed to arrive. A repair that trusted the first
//     bad byte would let one flipped bit destroy everything behind it.
//  4. After any error of the disk nothing is written until the log is opened again.
//  5. Whoever can write the folder and has the log's key can write another log. Only
//     checkpoints that others know stand against that.
//  6. One log has one writer: a lock on the folder, and a list in the process.
//  7. The queue is bounded, and what does not fit is refused at once.
//  8. Records go into segments, by size and by period ([Log.Rotate]). A period that
//     was archived can be removed ([Log.Prune]): its hashes stay, all checkpoints
//     with it. It stays one log with one origin: a folder and an origin for each
//     period would have witnesses, receipts and readers follow from one to the next,
//     and would prove no more.
//
// # What it does not prove
//
// Rule 5, and: the records since the last checkpoint, at most some seconds of a log
// that was killed, can be cut off as a crash might have. A folder that was emptied
// becomes a new log under the old origin. Against all of that give checkpoints to
// others, and hand them to [Verify], to [Config.Known] and to [Log.Confront]. Package
// witness does that among the members of a network.
//
// # People
//
// Leaves are for ever, so nothing that may have to be forgotten belongs into them.
// It is kept beside them ([Log.Attach]) and made durable with the same flush.
//
// # Example
//
//	binding, err := audit.Bind(peerKey, logKey)
//	l, err := audit.Open(dir, audit.Config{Binding: binding, Key: logKey})
//	go func() { stopped <- l.Run(ctx) }()
//	i, err := l.Record(ctx, [][]byte{leaf}, nil)
//	if err != nil {
//		return err // and release nothing
//	}
//	_, err = l.Checkpoint(ctx)
//	proof, err := l.ProveInclusion(i)
//
// Who appends while nobody writes does so itself. Everybody else queues up and is served
// at once by [Log.Run], with one write and one flush. No timer delays anybody.
package audit

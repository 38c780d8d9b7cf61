// Package audit is the tamper-evident log of what a node or validator decided.
//
// An act that must leave evidence is logged first and happens after [Log.Append]
// has returned nil; then the evidence is on the disk. When it cannot be logged
// it does not happen.
//
// # Files
//
// A log is a folder with two files:
//
//	entries     the records, appended; the layout is in record.go
//	checkpoint  CBOR [format, n, offset, first, head], replaced as a whole
//
// Every record carries a hash of itself and of all records before it, so that an
// edit, a removal or an exchange breaks the chain at its place, and the reader
// names that place. The checkpoint promises a length: records up to it cannot be
// cut off unseen. It is written when the log is opened and closed and every
// 1,024 records.
//
// # Recovery
//
// A crash in the middle of a write leaves records that nobody was told about.
// [Open] cuts those, and nothing else: never below the checkpoint, never where a
// record of a later write follows, never where bytes changed rather than failed
// to arrive. A repair that trusted the first bad byte would let one flipped bit
// destroy everything behind it.
//
// # What it does not prove
//
// Whoever can write the folder can write a whole new log with a checkpoint that
// fits, or bring back an old copy of both files, and can cut the records since
// the last checkpoint as a crash might. Against that, heads must be known to
// others: [Log.Head] is what they are to witness.
//
// # People
//
// Records are for ever, so they hold commitments instead of names ([Commit]).
// Destroying the salt makes a commitment say nothing, and no hash changes.
//
// # Example
//
//	l, err := audit.Open(dir)
//	go func() { stopped <- l.Run(ctx) }()
//	err = l.Append(ctx, audit.Event{Time: now.UnixMilli(), Action: "release", Outcome: "ok",
//		Actor: who[:], Object: keyID, Grant: leaf[:], Policy: bundle[:], Reason: "grant"})
//	if err != nil {
//		return err // and release nothing
//	}
//
// One writer serves all callers: it takes whatever has queued up while it was
// flushing, writes that at once and flushes once. No timer delays anybody.
package audit

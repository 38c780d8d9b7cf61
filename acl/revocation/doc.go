// Package revocation carries the statements that everybody must know: what has
// been revoked, erased or put under a legal hold, and the records
// of identities, and whatever else a network replicates the same way (roles).
//
// # Vocabulary
//
// A statement travels as an [Entry], beside the identity document of its signer;
// a statement that K validators signed needs none. What a verified entry says is
// a [Fact]: it fills one slot, and of two entries for one slot the first one
// heard is kept. Facts commute: two parties that know the same entries agree,
// whatever the order in which they heard of them, and nothing takes a revocation
// or an erasure back.
//
// Each validator keeps an append-only [Log] of entries whose head is a chain of
// hashes. A [Set] is all the entries that one party knows, from all logs. A
// [Tracker] asks every validator, each minute, for its signed head over a fresh
// nonce, pulls the missing tail, and says whether the view is fresh. A change of the
// committee leaves it fresh until the next answers are due; one by root keys, which
// leaves the record before behind, does not.
//
// An entry in a set stops nothing by itself. A revocation counts only where a
// verifier that has the chain before it finds the signer to be the owner or an
// issuer above the target, or finds F+1 validators: one validator's log cannot
// stop anybody. That judgement is package capability's. A statement that names a
// committee record counts as long as the record does.
//
// # Positions
//
// A [Position] is a place in a log: {segment, seq, head}.
//
//	head(0, 0) = 32 zero bytes
//	head(s, 0) = Hash("log segment", [adopted position in segment 0, .. s-1])
//	head(s, i) = Hash("revocation log", head(s, i-1), entry i of segment s)
//
// Within a segment a log only grows. A validator that was restored from an old
// backup cannot go on where others have seen more than it still has: it opens
// the next segment, which names the position that it was seen at (the adopted
// head) and lists again all that it has pulled from the others. Whoever has seen
// more of its log than it adopts reports it as rolled back. Two heads that one
// validator signed for one segment and seq are a [Fork], which proves to anybody
// that it does not keep one log.
//
// # Whose word it is
//
// An identity costs nothing, so one validator could fill everybody's disk with
// well-formed statements of nobody. A validator therefore passes on, in its own
// log, what it has accepted itself, what K validators signed, and what stands in
// the logs of F+1; and no log is pulled further once it has brought
// [MaxUnvouched] statements that stand in no other.
//
// # Starting
//
// A validator starts by asking the others which position of its log they have
// seen and by pulling their logs ([Tracker.Ready]). Until N-F-1 have answered its
// log takes nothing and its signed heads say that it is starting, so that they
// make nobody's view fresh; but it shows its log and says what it has seen of
// others, so that a network started cold does not wait for itself.
//
// # Example
//
//	set, err := revocation.OpenSet(store, chain, revocation.Kinds{policy.KindRole: verifyRole})
//	log, err := revocation.OpenLog(store, set, signing.Public()) // a validator's
//	tracker := &revocation.Tracker{Trust: chain, Set: set, Own: log, ...}
//	err = tracker.Open()
//	go tracker.Run(ctx)
//	...
//	if tracker.Fresh() && len(set.Revokers(grant)) == 0 { ... }
package revocation

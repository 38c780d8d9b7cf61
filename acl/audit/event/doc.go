// Package event says what an audit log records: an [Event], the small [Leaf] that
// the log keeps of it for ever, and the disclosures that show what it was about
// for as long as nobody has been forgotten.
//
// # Words
//
// A claim is a name and a value, with the person whom it concerns. A disclosure
// is a claim with a salt of 128 random bits, written as in SD-JWT (RFC 9901):
//
//	base64url(JSON [salt, name, value])
//
// Its digest, SHA-256 over those characters, stands in the leaf. Whoever is
// given the disclosure checks the digest and knows that the claim was made when
// the leaf was written. Without it the digest says nothing: the salt makes it
// impossible to try out values. What is true of a person is therefore forgotten
// by destroying the disclosures, or the key that they are sealed under, and
// neither leaf nor tree changes.
//
// # The leaf
//
//	CBOR [1, time, type, action, outcome, rule, actor, [digest, ...]]
//
// in the canonical encoding of package statement. type is an OCSF 1.8.0 type_uid
// (class_uid * 100 + activity_id), action Cerebrum's own word for it, rule the
// name of the rule that decided, never the data that it was applied to. actor is
// a pseudonym of 16 bytes, or empty where no person acted. Digests are sorted and
// filled up to a multiple of [DigestStep] with random ones that belong to nothing,
// so that neither their order nor their number tells which claims were made.
//
// # Example
//
//	e := event.Event{Time: now.UnixMilli(), Action: event.Release, Outcome: event.OK, Actor: reader,
//		Claims: []event.Claim{{Name: event.Object, Value: address, Of: owner}}}
//	leaf, disclosures, err := e.Commit(pseudonym)
//	...
//	l, err := event.ParseLeaf(leaf)
//	claims, err := event.Open(l, texts) // refuses what the leaf does not commit to
//
// # What it does not hide
//
// The time, what was done, its outcome, the rule, and which acts of one quarter
// one pseudonym did. Times alone may identify somebody to whoever knows when that
// person was at work.
package event

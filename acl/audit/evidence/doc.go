// Package evidence is what an auditor is handed of a log, and what an auditor runs.
//
// A node exports its log as one file ([WriteBundle]) or as a C2SP directory of tiles
// ([WriteTiles]). Either holds everything that is needed to verify it offline: the
// binding that says whose log it is, the checkpoint with its cosignatures, the
// committee records from the network's genesis on, the membership of a node that is
// no validator, and the entries. A bundle also has the disclosures, which open what
// the entries are about. [Verify] and [VerifyTiles] verify all of it and say in words
// what that proves, and what it does not.
//
// # Words
//
//	anchor      what the auditor knows of the network beforehand: its id, or a network file
//	owner       whose log it is, as the committee records say
//	witness     a validator whose key cosigned the checkpoint
//	withheld    the entries are there and the disclosures are not
//
// # A disclosure in a bundle
//
//	CBOR [1, index, [text, ...], erased, lost]
//
// in the order of the indexes. Each text must be one that the entry commits to. How
// many persons of the entry were erased, and that its claims were lost, is the word of
// the log's owner, who signed the bundle.
//
//	r, err := evidence.Verify(open, evidence.Expect{Network: id, Now: now})
//	for _, line := range r.Proves() { ... }
package evidence

// Package witness has logs watched by others than their owners: it cosigns the
// checkpoints of other logs, gathers cosignatures for one's own, and keeps the
// evidence against a log that shows two histories.
//
// A log's owner holds its key and its folder, so alone they can rewrite everything
// (rule 5 of package audit). A witness remembers the newest checkpoint of a log that
// it signed and signs a further one only with a proof that the log grew behind it and
// changed nothing. The witnesses of a network are the validators in its committee
// record; their logs are witnessed like everybody's.
//
// # Words
//
//	witness     a validator in its second office: [Witness]
//	cosignature its signature on a log's checkpoint, with the time (C2SP tlog-cosignature)
//	quorum      cosignatures of K of the N validators of one committee record: [Policy]
//	evidence    two checkpoints of one log that cannot both be true: [Evidence]
//	docket      the folder of evidence, kept for ever: [Docket]
//	collector   what brings a log's checkpoints to the witnesses: [Collector]
//
// # Protocol
//
// A log sends what C2SP tlog-witness calls add-checkpoint, byte for byte:
//
//	old 20852014
//	PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//	                                               an empty line
//	cerebrum.dev/log/3d40...
//	20852163
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//
//	— cerebrum.dev/log/3d40... Az3grlgtzPICa5OS8npVmf1...
//
// The answer is the witness's signature line, or a [Refusal]: the number that the
// witness would answer over HTTP, a space and a reason; behind 409 the size that it
// has. A log that the witness does not know yet (404) first hands in its binding.
//
// # Why K of N
//
// Two versions of one log with K cosignatures each have at least 2K-N witnesses in
// common, and 2K >= N+F+1, so that one of these is honest and signed both; an honest
// one never does. K <= N-F, so that F witnesses which are gone or silent hold nobody
// up. A validator counts for its own log too: the bound holds whoever the F are, and
// who owns a forked log is one of them. With one validator its word is all there is.
//
// # What a witness finds
//
// Two checkpoints of the same size and different roots convict at once. So do two
// of different sizes, where the log itself proved that the larger one continues
// another history: the proof shows the root that the larger tree has at the smaller
// size, but where that size is a power of two, whose root such proofs leave out. A
// proof that merely fails convicts nobody, since anybody can put a bad proof beside a
// good checkpoint; the log just is not signed. Witnesses compare with each other, each
// minute, what changed. A log that avoids equal sizes can so keep two versions from
// evidence, but not have both cosigned by a quorum.
//
// An owner who restores an old copy of the log and goes on has forked it as well as a
// forger has. [audit.Log.Confront] stops a log that finds out before.
//
// A witness that was restored from an old copy itself may sign what contradicts its
// own earlier signatures; nothing in its own memory tells. Logs tell: they hold its
// cosignatures on larger checkpoints, show them, and it says so in its status from
// then on ([Witness.RolledBack]). Until every log has come by it is one of the F.
//
// # Anchors
//
// Every validator notes checkpoints of other logs that it cosigned in its own log:
// whoever wants to rewrite one log has to rewrite those of a quorum too. Not more than
// one entry is made for a log and minute, of its newest checkpoint, which stands for
// those before it: entries for each checkpoint would have every act anywhere grow the
// logs of all validators, and these answer each other's growth with more of it.
//
// # Example
//
//	w, err := witness.Open(witness.Config{Key: keys.Witness, Store: store, Docket: docket, ...})
//	lines, err := w.Add(body) // a *Refusal, or lines to answer with
//
//	policy, err := witness.Policy(binding, record)
//	err = audit.VerifyInclusion(policy, leaf, proof) // offline
package witness

// Package validator judges requests and answers with a share.
//
// A [Judge] is one validator: it keeps deposits and mailboxes, signs grants and
// releases its share of an object's secret when capability, owner's consent,
// revocation, audience, proof of possession, time and policy all say yes. It
// knows no transport: package daemon of node carries its requests and answers.
//
// # Requests
//
//	Deposit   an owner's objects: manifest, dealing, and this validator's shares
//	Sign      the validator's signature under a root grant
//	Deliver   a finished chain for the mailbox of its audience
//	Mailbox   the chains of an identity
//	Latest    the newest version of a lineage, for those who may know it
//	Release   shares of up to 1,000 objects under one chain
//	Revoke    an entry for the revocation log, acknowledged once durable
//	Erase     an owner's order to destroy the shares of keys, answered with receipts
//	Proof     redeems a receipt of a release, a denial or an erasure
//	Hold      the validator's signature under a legal hold; Keep takes the signed one
//	Identity  a record of an identity for the same log, likewise
//	Fresh     the validator's head over a nonce; Tail reads its log
//	Consent   an owner's standing consent, to be kept; Consents finds those that
//	          an identity gave, or may ask under
//	Role      a role statement, to be signed or kept
//	Bundle    signed policy bundles, between validators
//
// A request that acts for somebody ends in an authority: a proof of possession
// over the digest of the whole request, the authority itself left empty.
//
// # Answers to those who may not know
//
// A release that is refused says "denied" and nothing else, whether the object
// exists or not; the rule that refused goes to the audit log. One thing more is
// told to whoever shows a valid chain that covers the object and proves to be its
// audience: that it was policy ([PolicyError]), and whether a purpose or a reason,
// the requester's own words, was wanting. Roles, labels and the policies
// themselves are told to nobody.
//
// Either comes with a receipt (package receipt): a signed promise that the answer
// stands in this validator's audit log. It holds the hash of an entry, whose salted
// digests nobody can guess, and its outcome, so that it tells no more than the answer.
//
// # The desk
//
// A grant that policy neither permits nor forbids waits for a person: [Judge.Sign]
// answers Pending and keeps the request, durably and within limits, until the
// validator's operator calls [Judge.Approve] or [Judge.Refuse], or it expires.
// Whoever asks again gets the signature; the owner, who proves to be it, also
// gets the reason of a refusal. Under a standing consent the audience takes the
// owner's part: it asks, with a proof, and policy is asked about it.
//
// # Roles and bundles
//
// [Judge.AnswerRole] signs a role once F+1 validators of the newest record have
// asked for that very assignment, so that F of them that were broken into can
// give none, and keeps those with K signatures; [Judge.AnswerBundle] gives and takes
// signed bundles. A validator believes K signatures, whoever brings them.
//
// # Rotation
//
// A new committee record names validators who have no shares. [Rotation] brings
// the old ones to them without putting a secret together and without its owner
// (package committee has the mathematics). Each step is kept before the next and
// may be repeated, so a crash costs time only.
//
//	plan     T validators of the old record as dealers, one list for all
//	         receivers, signed by K of the new record
//	page     each dealer deals each of its shares again and hands every receiver
//	         its sub-shares, sealed, some hundred deposits at a time in the order of
//	         key ids; the polynomials come from a seed that is destroyed at the
//	         end, so that asking twice gives the same
//	receive  a receiver checks the sub-shares against the old commitments and
//	         keeps their weighted sum: its share of the next epoch, beside the old.
//	         Where it is interrupted it goes on with the page that it had come to
//	settle   the validators tell one another which epochs they hold durably. Where
//	         T+F hold one and nobody who answers holds none, the old share is
//	         destroyed. What it acknowledged, a validator keeps
//
// A dealer that sends what does not fit is asked once more, in the clear. If that
// does not fit either it is named and left out of the next plan; so is, without a
// name, one that is silent, or of whom receivers have seen different commitments,
// since then one of several lies. A plan that does not get on is followed by another,
// each validator proposing a few, and the shares of both are kept until the next
// rotation. A deposit that a dealer lacks calls for another plan too, unless nobody
// needs one: its owner, who has just heard of the record, may have dealt it again,
// or another plan may have served it. The id of an epoch binds its commitments: shares of different
// polynomials never count together.
//
// What is promised, with at most F liars on either side: the secret stays the
// same; every object can be read throughout, from old shares or new ones, while T
// of those who hold them answer; fewer than T old and fewer than T new shares tell
// nothing, if one dealer is honest. It ends when T of the old and T+F of the new
// validators are there; until then old shares are kept, also by those who left.
// What is not: T shares of one epoch give the secret for ever, however late they
// meet. A new validator takes over mailboxes and logs, and what more than F of the
// others accepted of devices that were removed since; deposits whose key an owner
// erased are not dealt.
package validator

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits of requests.
const (
	MaxBatch      = 1000
	MaxDeposit    = 4 << 20 // bytes of a deposit request
	MaxRelease    = 4 << 20 // bytes of an answer
	MaxMailbox    = 1 << 20
	maxDeliveries = 64
	maxLabels     = 32
	MaxHolders    = 8   // of a deposit
	MaxHolder     = 256 // bytes of a holder's multiaddr
	maxAddress    = 64  // bytes; an address of ours has 36
	maxWords      = 256 // bytes of a purpose or a reason
)

// Errors that a transport maps to its codes.
var (
	ErrMalformed   = errors.New("the request is malformed")
	ErrDenied      = errors.New("denied")
	ErrUnavailable = errors.New("this validator cannot answer now")

	// ErrClock is an ErrDenied that says why: it is about no object.
	ErrClock = fmt.Errorf("%w: the clocks are more than a minute apart", ErrDenied)

	// ErrEncoding is an ErrMalformed that no honest caller causes: the message, which
	// the caller itself encodes, does not decode. What is wrong within it may be
	// somebody else's, or the clock's.
	ErrEncoding = fmt.Errorf("%w: it does not decode", ErrMalformed)
)

// KindDealing is the kind of dealings, signed by a device of the owner.
const KindDealing statement.Kind = "dealing"

// Label is a pair that policy may look at. Validators see it, carriers do not.
type Label struct {
	_          struct{} `cbor:",toarray"`
	Key, Value string
}

// Dealing says who may check what: it goes to every validator with its share.
type Dealing struct {
	_           struct{} `cbor:",toarray"`
	Network     statement.ID
	Owner       statement.ID
	KeyNonce    envelope.Nonce
	Manifest    []byte // address
	Number      uint64 // a higher one replaces a lower
	Record      statement.ID
	N, T        uint16
	Commitments committee.Commitments
	Labels      []Label
	Class       uint8 // classification
}

// DepositItem is one object's part of a deposit.
type DepositItem struct {
	_        struct{} `cbor:",toarray"`
	Manifest []byte   // block
	Dealing  []byte   // signed
}

// DepositRequest carries up to [MaxBatch] objects of one owner.
type DepositRequest struct {
	_      struct{} `cbor:",toarray"`
	Owner  []byte   // identity record
	Items  []DepositItem
	Box    []byte   // [Shares], sealed to the validator's recipient
	Holder []string // where the ciphertext is: multiaddrs with /p2p
}

// Shares is what the box of a deposit holds.
type Shares struct {
	_      struct{}     `cbor:",toarray"`
	Items  statement.ID // digest of the request's items, so that boxes are not exchanged
	Shares [][]byte     // value and blinding, 64 bytes, in the order of the items
}

// DigestItems is what [Shares] names.
func DigestItems(items []DepositItem) statement.ID {
	parts := make([][]byte, 0, 2*len(items))
	for _, it := range items {
		parts = append(parts, it.Manifest, it.Dealing)
	}
	return statement.Hash("deposit items", parts...)
}

// Outcomes of one item of a batch.
const (
	ItemOK       = 0
	ItemRefused  = 1 // malformed, forged, or its share does not fit the dealing
	ItemConflict = 2 // the key id belongs to another manifest, a newer dealing stands, or another version of its lineage was first
	ItemBehind   = 3 // a version before it has not come here yet; it may be sent again after that one
	ItemPolicy   = 5 // of a release: the chain covers the object, and policy says no
	ItemErased   = 4 // its owner has erased the key, for ever
	ItemFull     = 6 // of a deposit: the owner, or the peer that brings it, has as much here as its quota allows; it may be sent again later
	ItemNotYet   = 7 // of a release: this validator is new, and what the committee before kept is still on its way to it
)

// DepositReply has an outcome for each item. ItemOK means durable here.
type DepositReply struct {
	_        struct{} `cbor:",toarray"`
	Outcomes []uint8
}

// SignRequest asks for a signature under a root grant.
type SignRequest struct {
	_          struct{} `cbor:",toarray"`
	Grant      []byte   // unsigned statement
	Consent    []byte
	Identities [][]byte // owner, audience
	Reason     string   // why, for policy and for the person who decides
	Authority  []byte   // proof by the owner, or empty; under a standing consent by the audience, always
}

// Digest is what the proof of possession signs.
func (r SignRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("sign request", r)
}

// SignReply is the grant with this validator's signature, or pending, or denied
// by a person.
type SignReply struct {
	_       struct{} `cbor:",toarray"`
	Grant   []byte
	Pending bool   // a person decides
	Denied  bool   // a person has: only the owner is told so, others get [ErrDenied]
	Reason  string // of the denial
}

// Delivery is a chain on its way to its audience.
type Delivery struct {
	_     struct{} `cbor:",toarray"`
	Chain []byte
	Hint  []byte // address that the issuer had in mind; unsigned, a hint
}

// MailboxRequest asks for the chains of an identity, after one, those that cover
// an address, or those that it issued or that hang on what it issued.
type MailboxRequest struct {
	_         struct{} `cbor:",toarray"`
	Address   []byte
	Issued    bool
	After     []byte // leaf id of the last one seen
	Authority []byte
}

// Digest is what the proof of possession signs.
func (r MailboxRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("mailbox request", r)
}

// MailboxReply is a page of deliveries in the order of their leaf ids.
type MailboxReply struct {
	_          struct{} `cbor:",toarray"`
	Deliveries []Delivery
	More       bool
	Manifest   []byte // of the address, to its owner alone: a device that lost everything finds out what it owns
}

// ReleaseRequest asks for this validator's shares of objects.
type ReleaseRequest struct {
	_         struct{} `cbor:",toarray"`
	Objects   [][]byte // addresses
	Purpose   string
	Reason    string
	Dealings  bool // send the dealings too, to find out who lied
	Authority []byte
}

// Digest is what the proof of possession signs.
func (r ReleaseRequest) Digest() statement.ID {
	r.Authority = nil
	return digest("release request", r)
}

// ReleaseReply is the sealed answer: a [Release] for the recipients of the
// grant's audience. A denial has no box, but a receipt: see [DenialIn].
type ReleaseReply struct {
	_       struct{} `cbor:",toarray"`
	Box     []byte
	Why     string // of a denial: what it says of policy or of the clocks, or empty
	Receipt []byte // of a denial
}

// Release is what the box of a reply holds.
type Release struct {
	_       struct{} `cbor:",toarray"`
	Request statement.ID
	Leaf    statement.ID
	Server  statement.PublicKey // peer key of the validator
	Items   []ReleaseItem
	Receipt []byte // for its entries in the audit log, in the order of the items: package receipt
}

// ReleaseItem answers for one object, in the order of the request. A refused one
// is empty but for its outcome.
type ReleaseItem struct {
	_       struct{} `cbor:",toarray"`
	Outcome uint8
	Dealing statement.ID
	Shares  []ReleasedShare // one, or more while a rotation is under way
	Signed  []byte          // the dealing itself, where asked for
	Holders []string        // where the ciphertext was at the deposit, and peers that say that they carry it
}

// ReleasedShare is a share in one epoch. Its place on the polynomial and the
// number of shares that are needed come from the record, never from here.
type ReleasedShare struct {
	_      struct{}     `cbor:",toarray"`
	Epoch  statement.ID // the dealing's id in its first epoch
	Record statement.ID
	Share  []byte                // value and blinding, 64 bytes
	Scale  []byte                // with the dealings, after a rotation
	Points committee.Commitments // likewise
}

// RevokeRequest asks to append an entry. The chain shows that its signer may, or
// where a standing consent is ended, the consent, or the invitation.
type RevokeRequest struct {
	_       struct{} `cbor:",toarray"`
	Entry   revocation.Entry
	Chain   []byte
	Consent *KeptConsent
	Invited []byte // invitation that is revoked by its inviter
}

// IdentityRequest asks to append a record of an identity. Its document has the
// record in it.
type IdentityRequest struct {
	_     struct{} `cbor:",toarray"`
	Entry revocation.Entry
}

// TailRequest asks for entries of a segment of the log after Seq.
type TailRequest struct {
	_       struct{} `cbor:",toarray"`
	Segment uint64
	Seq     uint64
}

// TailReply has up to [revocation.MaxTail] entries.
type TailReply struct {
	_       struct{} `cbor:",toarray"`
	Entries []revocation.Entry
}

// SeenRequest asks what was seen of the log of the validator with a signing key.
type SeenRequest struct {
	_         struct{} `cbor:",toarray"`
	Validator statement.PublicKey
}

// SeenReply is the signed answer of that validator; empty where none was seen.
type SeenReply struct {
	_     struct{} `cbor:",toarray"`
	Fresh []byte
}

// FreshRequest carries the nonce.
type FreshRequest struct {
	_     struct{} `cbor:",toarray"`
	Nonce [32]byte
}

func digest(domain string, v any) statement.ID {
	raw, err := statement.Marshal(v)
	if err != nil {
		panic("validator: own request does not encode: " + err.Error()) // plain fields
	}
	return statement.Hash(domain, raw)
}

func decode(raw []byte, v any) error {
	if err := statement.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return nil
}

func encode(v any) []byte {
	raw, err := statement.Marshal(v)
	if err != nil {
		panic("validator: own answer does not encode: " + err.Error()) // plain fields
	}
	return raw
}

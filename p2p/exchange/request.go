package exchange

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Limits on what one request may hold.
const (
	MaxItems        = 1000      // objects in one request
	MaxRanges       = 1024      // ranges in one item
	MaxAuthority    = 384 << 10 // bytes of Authority
	MaxRequestBytes = 1 << 20   // the encoded request
)

// Range is the payload bytes from From up to, and without, To. Offsets count
// from the first byte of the payload (the nonce), not of the file.
type Range struct {
	_        struct{} `cbor:",toarray"`
	From, To uint64
}

// Item asks for one object. The manifest, the file root, the header and the
// root of the payload always come; of the rest of the payload comes what
// overlaps Ranges, or everything if Whole.
type Item struct {
	_       struct{} `cbor:",toarray"`
	Address []byte   // the manifest's CID, as bytes
	Ranges  []Range  // sorted, disjoint, none empty; must be empty if Whole
	Whole   bool
}

// Request asks for a batch of objects under one authority.
type Request struct {
	_     struct{} `cbor:",toarray"`
	Items []Item   // 1 to MaxItems, answered in this order
	// Authority shows why the holder should answer: grants and a proof of
	// possession. This package carries it and understands nothing of it.
	Authority []byte
}

// Digest identifies everything in the request except the Authority, so that a
// proof of possession inside the Authority can sign it.
func (r Request) Digest() statement.ID {
	r.Authority = nil
	b, err := statement.Marshal(r)
	if err != nil {
		panic("exchange: own request does not encode: " + err.Error()) // a struct of plain fields
	}
	return statement.Hash("blocks-request", b)
}

// check reports the first rule that the request breaks.
func (r *Request) check() error {
	switch {
	case len(r.Items) == 0:
		return fmt.Errorf("%w: it names no object", ErrRequest)
	case len(r.Items) > MaxItems:
		return fmt.Errorf("%w: %d objects, at most %d", ErrRequest, len(r.Items), MaxItems)
	case len(r.Authority) > MaxAuthority:
		return fmt.Errorf("%w: %d bytes of authority, at most %d", ErrRequest, len(r.Authority), MaxAuthority)
	}
	for i := range r.Items {
		if err := r.Items[i].check(); err != nil {
			return fmt.Errorf("%w: item %d: %w", ErrRequest, i, err)
		}
	}
	return nil
}

func (it *Item) check() error {
	if _, err := it.address(); err != nil {
		return err
	}
	if it.Whole && len(it.Ranges) > 0 {
		return errors.New("it asks for the whole payload and for ranges of it")
	}
	if len(it.Ranges) > MaxRanges {
		return fmt.Errorf("%d ranges, at most %d", len(it.Ranges), MaxRanges)
	}
	end := uint64(0)
	for i, r := range it.Ranges {
		if r.From >= r.To {
			return errors.New("a range is empty")
		}
		if i > 0 && r.From < end {
			return errors.New("ranges are not sorted and disjoint")
		}
		end = r.To
	}
	return nil
}

// address is the manifest's CID.
func (it *Item) address() (cid.Cid, error) {
	if len(it.Address) > 64 {
		return cid.Undef, errors.New("an address is not a CID")
	}
	c, err := cid.Cast(it.Address)
	if err != nil {
		return cid.Undef, errors.New("an address is not a CID")
	}
	return c, checkCID(c, envelope.CodecDagCBOR)
}

// encode is the request as it travels, without its length prefix.
func (r *Request) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := statement.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not encode", ErrRequest)
	}
	if len(b) > MaxRequestBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrRequest, len(b), MaxRequestBytes)
	}
	return b, nil
}

// decodeRequest reads what encode writes, and nothing else.
func decodeRequest(b []byte) (*Request, error) {
	if len(b) > MaxRequestBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrRequest, len(b), MaxRequestBytes)
	}
	var r Request
	if err := statement.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return &r, nil
}

// checkCID accepts CIDv1 with a full SHA-256 and the codec that belongs to the
// place. Weak, truncated and identity hashes would let a holder choose the
// bytes; a second spelling of one block would let it be asked for twice.
func checkCID(c cid.Cid, codec uint64) error {
	if !c.Defined() {
		return errors.New("a CID is missing")
	}
	p := c.Prefix()
	if p.Version != 1 || p.Codec != codec || p.MhType != mh.SHA2_256 || p.MhLength != sha256.Size {
		return fmt.Errorf("a CID is not version 1, codec 0x%x, sha2-256", codec)
	}
	return nil
}

// matches reports whether data hashes to c, whose form checkCID has accepted.
func matches(c cid.Cid, data []byte) bool {
	sum := sha256.Sum256(data)
	h := c.Hash()
	return string(h[len(h)-sha256.Size:]) == string(sum[:])
}

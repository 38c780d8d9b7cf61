package identity

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// document is an identity as it travels.
type document struct {
	_         struct{} `cbor:",toarray"`
	Inception []byte
	Records   [][]byte // in the strict order of their ids
}

// epoch is the time of one recovery count.
type epoch struct {
	id         statement.ID // of the recovery, or the identity
	devices    []statement.PublicKey
	recipients []string
	next       [32]byte
	keeps      []statement.ID // of earlier counts
}

// chain is the inception and the recoveries that count, in order. Of two
// branches the longer wins, then the one that ends in the smaller id.
func chain(start epoch, records map[statement.ID]*Record) []epoch {
	best := []epoch{start}
	var walk func(at []epoch)
	walk = func(at []epoch) {
		last, tip := at[len(at)-1], best[len(best)-1]
		if len(at) > len(best) || len(at) == len(best) && bytes.Compare(last.id[:], tip.id[:]) < 0 {
			best = slices.Clone(at)
		}
		for _, r := range records {
			b := r.recovery
			if b == nil || int64(b.Count) != int64(len(at)) || b.Previous != last.id || b.Key.Digest() != last.next ||
				slices.ContainsFunc(at, func(e epoch) bool { return e.next == b.Next }) {
				continue
			}
			walk(append(at[:len(at):len(at)], epoch{r.id, b.Devices, b.Recipients, b.Next, b.Keeps}))
		}
	}
	walk(best)
	return best
}

// span is what the device records of one count come to.
type span struct {
	listed  []statement.PublicKey // in the order in which they were found
	bound   map[statement.PublicKey]string
	removed map[statement.PublicKey]bool
	loose   []string // recipients of no device
	used    []*Record
}

// reach folds the device records of one count, given in the order of their ids.
// A record counts if its author is listed and no removal by that author leaves
// it out. That grows from the first devices and never takes back, so its end
// does not depend on an order.
func (e epoch) reach(records []*Record) span {
	s := span{listed: slices.Clone(e.devices), bound: make(map[statement.PublicKey]string), removed: make(map[statement.PublicKey]bool)}
	if len(e.devices) == len(e.recipients) {
		for i, d := range e.devices {
			s.bound[d] = e.recipients[i]
		}
	} else {
		s.loose = slices.Clone(e.recipients)
	}
	by := make(map[statement.PublicKey][]*Record)
	for _, r := range records {
		by[r.device.By] = append(by[r.device.By], r)
	}
	void := func(r *Record) bool {
		return slices.ContainsFunc(by[r.device.By], func(x *Record) bool {
			return x.device.Action == removeSelf && !slices.Contains(x.device.Keeps, r.id)
		})
	}
	for i := 0; i < len(s.listed); i++ {
		for _, r := range by[s.listed[i]] {
			b := r.device
			if b.Action == removeSelf {
				s.removed[b.By] = true
			} else if void(r) || !s.add(e, r) {
				continue
			}
			s.used = append(s.used, r)
		}
	}
	return s
}

// add takes in what an addition adds, false if that has no effect.
func (s *span) add(e epoch, r *Record) bool {
	if r.device.Action == addRecipient {
		v := string(r.device.Value)
		if slices.Contains(e.recipients, v) {
			return false
		}
		if !slices.Contains(s.loose, v) {
			s.loose = append(s.loose, v)
		}
		return true
	}
	d := r.enrolled.Device
	if slices.Contains(e.devices, d) || d.Digest() == e.next {
		return false
	}
	if !slices.Contains(s.listed, d) {
		s.listed = append(s.listed, d)
	}
	// Two enrolments of one device: the smaller text, whoever comes first.
	if old, ok := s.bound[d]; !ok || r.enrolled.Recipient < old {
		s.bound[d] = r.enrolled.Recipient
	}
	return true
}

// fold makes the state of an identity from its inception and a set of records.
// Those that do not count are left out of what it returns.
func fold(start *Identity, records map[statement.ID]*Record) (*Identity, error) {
	b := start.body
	epochs := chain(epoch{start.id, b.Devices, b.Recipients, b.Recovery, nil}, records)
	tip := epochs[len(epochs)-1]
	out := &Identity{id: start.id, body: b, inception: start.inception, epoch: tip, count: uint32(len(epochs) - 1)}
	spans := make([]span, len(epochs))
	for c, e := range epochs {
		var of []*Record
		for _, r := range records {
			if r.device != nil && int64(r.device.Count) == int64(c) && (e.id == tip.id || slices.Contains(tip.keeps, r.id)) {
				of = append(of, r)
			}
		}
		slices.SortFunc(of, byID)
		spans[c] = e.reach(of)
	}
	for oldest := 0; ; oldest++ { // history that finds no room goes, the oldest first
		if oldest == len(spans) {
			return nil, ErrFull
		}
		if out.records = kept(epochs, spans[oldest:], records); out.fits() {
			out.settle(epochs, spans, oldest)
			return out, nil
		}
	}
}

func byID(a, b *Record) int { return bytes.Compare(a.id[:], b.id[:]) }

func kept(epochs []epoch, spans []span, records map[statement.ID]*Record) (out []*Record) {
	for _, e := range epochs[1:] {
		out = append(out, records[e.id])
	}
	for _, s := range spans {
		out = append(out, s.used...)
	}
	slices.SortFunc(out, byID)
	return out
}

// fits encodes the document and says whether it may travel.
func (i *Identity) fits() bool {
	d := document{Inception: i.inception}
	for _, r := range i.records {
		d.Records = append(d.Records, r.raw)
	}
	raw, err := statement.Marshal(d)
	if err != nil {
		panic("identity: own document does not encode: " + err.Error()) // byte strings only
	}
	i.raw = raw
	return len(d.Records) <= MaxRecords && len(raw) <= MaxDocument
}

// settle fills in who speaks now and who ever did.
func (i *Identity) settle(epochs []epoch, spans []span, oldest int) {
	for c, s := range spans {
		listed := s.listed
		if c < oldest {
			listed = epochs[c].devices
		}
		for _, d := range listed {
			if !slices.Contains(i.ever, d) {
				i.ever = append(i.ever, d)
			}
		}
	}
	last := spans[len(spans)-1]
	add := func(r string) {
		if !slices.Contains(i.recipients, r) {
			i.recipients = append(i.recipients, r)
		}
	}
	for _, d := range last.listed {
		if last.removed[d] {
			continue
		}
		i.devices = append(i.devices, d)
		if r, ok := last.bound[d]; ok {
			add(r)
		}
	}
	for _, r := range last.loose {
		add(r)
	}
}

// With folds further records in. The result depends on the set of records alone:
// order and repetition make no difference, and records that do not count are
// left out. One whose author is unknown without a record that comes later is
// among these, so hand over everything that is known. Records of other
// identities are refused with [ErrInvalid], and what finds no room with
// [ErrFull]; the identity itself does not change.
func (i *Identity) With(records ...*Record) (*Identity, error) {
	all := make(map[statement.ID]*Record, len(i.records)+len(records))
	for _, r := range slices.Concat(i.records, records) {
		if r.Identity() != i.id {
			return nil, fmt.Errorf("%w: a record of another identity", ErrInvalid)
		}
		// Two signatures of one statement: the smaller, so that order stays without effect.
		if old, ok := all[r.id]; !ok || bytes.Compare(r.raw, old.raw) < 0 {
			all[r.id] = r
		}
	}
	return fold(i, all)
}

// MergeDocument folds in another document of the same identity.
func (i *Identity) MergeDocument(doc []byte) (*Identity, error) {
	if bytes.Equal(doc, i.raw) {
		return i, nil
	}
	other, err := Parse(doc)
	if err != nil {
		return nil, err
	}
	if other.id != i.id {
		return nil, fmt.Errorf("%w: a document of another identity", ErrInvalid)
	}
	return i.With(other.records...)
}

// ErrFull reports records that find no room in a document. A recovery makes room.
var ErrFull = errors.New("the identity's document is full")

// Records are the records after inception that count, in the order of their ids.
func (i *Identity) Records() []*Record { return slices.Clone(i.records) }

// Count is how many recoveries there were.
func (i *Identity) Count() uint32 { return i.count }

// NextRecovery is SHA-256 of the key that may recover the identity next.
func (i *Identity) NextRecovery() [32]byte { return i.epoch.next }

func (i *Identity) tip() statement.ID { return i.epoch.id }

// Spent reports a recovery key that this identity was recovered with already.
func (i *Identity) Spent(key statement.PublicKey) bool {
	return slices.ContainsFunc(i.records, func(r *Record) bool { return r.recovery != nil && r.recovery.Key == key })
}

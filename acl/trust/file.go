package trust

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// File is what a newcomer is handed: the signed records from the genesis on (the
// last may be a draft while signatures are gathered), the memberships that were
// issued with the last and the policy bundle whose hash it names. A draft and a finished file have
// one form; [File.Committee] tells them apart.
type File struct {
	_           struct{} `cbor:",toarray"`
	Format      uint16
	Records     [][]byte // signed records, genesis first
	Memberships [][]byte
	Policy      []byte // payload of the bundle
	Root        []byte // a root-signed [Pin], or empty
}

// FileFormat is the one format of network files.
const FileFormat = 1

// Limits of a network file.
const (
	MaxFile        = 32 << 20 // bytes; the largest committee with the most members fits
	maxFileMembers = 4096
	maxFileRecords = 1024
)

// ParseFile decodes a network file and verifies nothing but its form.
func ParseFile(raw []byte) (*File, error) {
	if len(raw) > MaxFile {
		return nil, fmt.Errorf("the network file has more than %d bytes", MaxFile)
	}
	var f File
	if err := statement.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("the network file is damaged: %w", err)
	}
	if f.Format != FileFormat || len(f.Records) == 0 || len(f.Records) > maxFileRecords || len(f.Memberships) > maxFileMembers {
		return nil, errors.New("the network file is of another version; ask its sender for a new one")
	}
	return &f, nil
}

// Committee verifies every record in the file and returns the newest.
func (f *File) Committee() (*Committee, error) {
	c, err := f.Chain()
	if err != nil {
		return nil, err
	}
	return c.Current(), nil
}

// Chain verifies every record in the file, which must be one line, and that it
// holds each pin, those of the caller and the one in the file. The chain is kept
// nowhere; [OpenChain] and [Chain.Add] take the file's records over.
func (f *File) Chain(pins ...Pin) (*Chain, error) {
	c, err := chainOf(f.Records)
	if err != nil {
		return nil, err
	}
	if len(f.Root) > 0 {
		pin, err := c.VerifyPin(f.Root)
		if err != nil {
			return nil, err
		}
		pins = append(slices.Clone(pins), *pin)
	}
	for _, p := range pins {
		if err := c.Holds(p); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func chainOf(records [][]byte) (*Chain, error) {
	if len(records) == 0 || len(records) > maxFileRecords {
		return nil, fmt.Errorf("%w: a network file has 1 to %d records", ErrRecord, maxFileRecords)
	}
	g, err := Genesis(records[0])
	if err != nil {
		return nil, err
	}
	c := Fixed(g)
	for _, raw := range records[1:] {
		before := c.Current()
		if now, err := c.Add(raw); err != nil {
			return nil, err
		} else if now.before != before {
			return nil, fmt.Errorf("%w: the records in the file are not one line", ErrRecord)
		}
	}
	return c, nil
}

// Membership finds a valid credential for a peer in the file.
func (f *File) Membership(c *Committee, peer statement.PublicKey, now time.Time) ([]byte, bool) {
	for _, raw := range f.Memberships {
		if _, err := c.VerifyMembership(raw, peer, now); err == nil {
			return slices.Clone(raw), true
		}
	}
	return nil, false
}

// Sign adds key's signatures wherever the file has a place for them: the last
// record, as validator or root of it or of the record before, and, as one of its
// validators, the memberships. It reports how many signatures it added. A file
// with anything in it that may not be signed gets no signature at all. A
// validator's key signs a later record only by [File.SignGuarded].
func (f *File) Sign(key statement.PrivateKey) (added int, err error) { return f.SignGuarded(key, nil) }

// SignGuarded is [File.Sign] that asks the guard before a later record is signed.
func (f *File) SignGuarded(key statement.PrivateKey, guard Permitter) (added int, err error) {
	d, err := f.draft()
	if err != nil {
		return 0, err
	}
	pub := key.Public()
	signed := slices.Clone(f.Memberships)
	if at := slices.Index(d.r.ValidatorKeys(), pub); at >= 0 {
		for i, raw := range f.Memberships {
			m, err := readMembership(raw, d)
			if err != nil {
				return 0, err
			}
			m.AddSignature(uint16(at), key)
			signed[i] = m.Bytes()
			added++
		}
	}
	signers := d.signers()
	if d.before != nil && slices.Contains(append(d.r.ValidatorKeys(), d.before.ValidatorKeys()...), pub) {
		if guard == nil {
			return 0, errors.New("a validator signs a record that follows another only under its signing guard")
		}
		if err := guard.Permit(string(KindRecord), d.r.RootEpoch, d.r.Version, d.s.ID()); err != nil {
			return 0, err
		}
	}
	for i, k := range signers {
		if k == pub {
			d.s.AddSignature(uint16(i), key)
			added++
		}
	}
	f.Records[len(f.Records)-1], f.Memberships = d.s.Bytes(), signed
	return added, nil
}

// readMembership reads an unverified membership that names the drafted record.
func readMembership(raw []byte, d *drafted) (*statement.Statement, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, err
	}
	var m Membership
	if err := s.Peek(KindMembership, &m); err != nil || m.Network != d.network() || m.Record != d.s.ID() {
		return nil, errors.New("the file has a membership of another network; it is not signed")
	}
	return s, nil
}

// Draft is the last record in the file with nothing but its form and its place
// after the others checked, and in words whose signatures it lacks.
func (f *File) Draft() (*Record, statement.ID, []string, error) {
	d, err := f.draft()
	if err != nil {
		return nil, statement.ID{}, nil, err
	}
	return d.r, d.s.ID(), d.missing(), nil
}

// drafted is the last record of a file, which may lack signatures; those before
// it are verified.
type drafted struct {
	s      *statement.Statement
	r      *Record
	before *Committee // nil for a genesis
}

func (d *drafted) signers() []statement.PublicKey {
	if d.before == nil {
		return d.r.Signers()
	}
	return d.r.SuccessorSigners(d.before)
}

func (d *drafted) missing() []string {
	if d.before == nil {
		return Missing(d.s, d.r)
	}
	return MissingAfter(d.s, d.r, d.before)
}

func (d *drafted) network() statement.ID {
	if d.before == nil {
		return d.s.ID()
	}
	return d.before.network
}

func (f *File) draft() (*drafted, error) {
	if len(f.Records) == 0 {
		return nil, fmt.Errorf("%w: the file has none", ErrRecord)
	}
	last := len(f.Records) - 1
	s, err := statement.Parse(f.Records[last])
	if err != nil {
		return nil, err
	}
	d := &drafted{s: s, r: new(Record)}
	if err := s.Peek(KindRecord, d.r); err != nil {
		return nil, err
	}
	if last == 0 {
		return d, d.r.checkGenesis()
	}
	c, err := chainOf(f.Records[:last])
	if err != nil {
		return nil, err
	}
	d.before = c.Current()
	return d, d.r.checkAfter(d.before)
}

// DraftNext is the file of the record that follows the file's last one: a
// succession, or a recovery or skip where r says so. Memberships that verify are
// issued again under the new record for its whole time, expired or not, but for
// the peers in without. Nothing new in it is signed; on an error f is as it was.
func (f *File) DraftNext(r Record, policy []byte, without []statement.PublicKey) (*File, error) {
	c, err := f.Chain()
	if err != nil {
		return nil, err
	}
	before := c.Current()
	s, err := DraftAfter(before, r)
	if err != nil {
		return nil, err
	}
	next := &File{Format: FileFormat, Records: append(slices.Clone(f.Records), s.Bytes()), Policy: policy, Root: f.Root}
	if len(next.Records) > maxFileRecords {
		return nil, fmt.Errorf("%w: the file is full", ErrRecord)
	}
	for _, raw := range f.Memberships {
		var m Membership
		old, err := statement.Parse(raw)
		if err != nil || old.Peek(KindMembership, &m) != nil || slices.Contains(without, m.Peer) {
			continue
		}
		if _, err := c.VerifyMembership(raw, m.Peer, time.Unix(m.NotBefore, 0)); err != nil {
			continue // nobody was ever a member by this
		}
		m.Record, m.NotBefore, m.Expires = s.ID(), r.NotBefore, r.Expires
		rand.Read(m.Nonce[:])
		ms, err := statement.New(KindMembership, m)
		if err != nil {
			return nil, err
		}
		next.Memberships = append(next.Memberships, ms.Bytes())
	}
	return next, nil
}

// Members are the memberships in the file as they claim to be, unverified.
func (f *File) Members() []Membership {
	var out []Membership
	for _, raw := range f.Memberships {
		var m Membership
		if s, err := statement.Parse(raw); err == nil && s.Peek(KindMembership, &m) == nil {
			out = append(out, m)
		}
	}
	return out
}

// Enrol adds unsigned memberships of a draft's record for its whole time. A peer
// that the file has already is passed over.
func (f *File) Enrol(members ...Member) error {
	d, err := f.draft()
	if err != nil {
		return err
	}
	had := map[statement.PublicKey]bool{}
	for _, m := range f.Members() {
		had[m.Peer] = true
	}
	for _, n := range members {
		if had[n.Peer] {
			continue
		}
		had[n.Peer] = true
		raw, err := n.draft(d.network(), d.s.ID(), d.r)
		if err != nil {
			return err
		}
		if f.Memberships = append(f.Memberships, raw); len(f.Memberships) > maxFileMembers {
			return fmt.Errorf("%w: a network file has at most %d members", ErrRecord, maxFileMembers)
		}
	}
	return nil
}

// Merge takes over signatures from another copy of the same file, so that
// validators may sign copies side by side. Signatures that do not verify are
// dropped from both: a wrong one would keep the right one out.
func (f *File) Merge(other *File) error {
	different := errors.New("the two files are of different drafts")
	last := len(f.Records) - 1
	if last < 0 || len(other.Records) != len(f.Records) || len(f.Memberships) != len(other.Memberships) {
		return different
	}
	d, err := f.draft()
	if err != nil {
		return err
	}
	record, ok := merge(KindRecord, d.s, other.Records[last], d.signers())
	if !ok {
		return different
	}
	memberships := make([][]byte, len(f.Memberships))
	for i, raw := range f.Memberships {
		m, err := readMembership(raw, d)
		if err != nil {
			return err
		}
		if memberships[i], ok = merge(KindMembership, m, other.Memberships[i], d.r.ValidatorKeys()); !ok {
			return different
		}
	}
	f.Records[last], f.Memberships = record, memberships
	return nil
}

func merge(kind statement.Kind, into *statement.Statement, raw []byte, keys []statement.PublicKey) ([]byte, bool) {
	from, err := statement.Parse(raw)
	if err != nil || from.ID() != into.ID() {
		return nil, false
	}
	into.Prune(kind, keys)
	from.Prune(kind, keys)
	if err := into.Merge(from); err != nil {
		return nil, false
	}
	return into.Bytes(), true
}

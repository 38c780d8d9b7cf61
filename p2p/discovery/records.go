package discovery

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-base32"
)

// records keeps provider records in memory for the DHT's provider manager, which
// names them /providers/KEY/MEMBER. It differs from a plain map in two ways. The
// records of one key are found without looking at all others. And it is bounded:
// a record that would exceed what one member, or all together, may have is
// dropped, and no error told, because an error would fail the batch in which the
// manager writes the records of many.
type records struct {
	self               string // our own name in keys: not bounded by perMember
	member             func(peer.ID) bool
	perMember, overall int

	mu     sync.Mutex // guards the fields below
	groups map[string]map[string][]byte
	owned  map[string]int // records by member
	total  int
}

var _ datastore.Batching = (*records)(nil)

func newRecords(self peer.ID, member func(peer.ID) bool, perMember, overall int) *records {
	return &records{
		member:    member,
		self:      base32.RawStdEncoding.EncodeToString([]byte(self)),
		perMember: perMember,
		overall:   overall,
		groups:    make(map[string]map[string][]byte),
		owned:     make(map[string]int),
	}
}

// keyDepth is the number of slashes in /providers/KEY, below which only records are.
const keyDepth = 2

// split cuts a key into what comes before its last part, and that.
func split(k datastore.Key) (group, name string) {
	s := k.String()
	i := strings.LastIndexByte(s, '/')
	return s[:i], s[i+1:]
}

// Put keeps a record or, beyond the bounds, silently does not.
func (r *records) Put(_ context.Context, k datastore.Key, value []byte) error {
	group, name := split(k)
	if !r.belongs(name) { // the manager writes late what it has buffered
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	members := r.groups[group]
	if _, exists := members[name]; !exists {
		if r.total >= r.overall || (name != r.self && r.owned[name] >= r.perMember) {
			return nil
		}
		if members == nil {
			members = make(map[string][]byte)
			r.groups[group] = members
		}
		r.owned[name]++
		r.total++
	}
	members[name] = slices.Clone(value)
	return nil
}

// belongs reports whether a name is our own or a member's.
func (r *records) belongs(name string) bool {
	raw, _ := base32.RawStdEncoding.DecodeString(name) // what is none is nobody's
	return name == r.self || r.member(peer.ID(raw))
}

// Delete forgets a record, if there is one.
func (r *records) Delete(_ context.Context, k datastore.Key) error {
	group, name := split(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	members := r.groups[group]
	if _, exists := members[name]; !exists {
		return nil
	}
	delete(members, name)
	if len(members) == 0 {
		delete(r.groups, group)
	}
	if r.owned[name]--; r.owned[name] == 0 {
		delete(r.owned, name)
	}
	r.total--
	return nil
}

// forget drops all records of a member.
func (r *records) forget(member peer.ID) {
	name := base32.RawStdEncoding.EncodeToString([]byte(member))
	r.mu.Lock()
	defer r.mu.Unlock()
	for group, members := range r.groups {
		if _, exists := members[name]; !exists {
			continue
		}
		if delete(members, name); len(members) == 0 {
			delete(r.groups, group)
		}
		r.total--
	}
	delete(r.owned, name)
}

// Get returns a copy of a record.
func (r *records) Get(_ context.Context, k datastore.Key) ([]byte, error) {
	group, name := split(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	value, ok := r.groups[group][name]
	if !ok {
		return nil, datastore.ErrNotFound
	}
	return slices.Clone(value), nil
}

// Has tells whether there is a record.
func (r *records) Has(ctx context.Context, k datastore.Key) (bool, error) {
	return datastore.GetBackedHas(ctx, r, k)
}

// GetSize is the size of a record's value in bytes.
func (r *records) GetSize(ctx context.Context, k datastore.Key) (int, error) {
	return datastore.GetBackedSize(ctx, r, k)
}

// Query answers from a snapshot.
func (r *records) Query(_ context.Context, q query.Query) (query.Results, error) {
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, r.snapshot(q))), nil
}

func (r *records) snapshot(q query.Query) []query.Entry {
	prefix := datastore.NewKey(q.Prefix).String()
	r.mu.Lock()
	defer r.mu.Unlock()
	var entries []query.Entry
	add := func(group string) {
		for name, value := range r.groups[group] {
			e := query.Entry{Key: group + "/" + name, Size: len(value)}
			if !q.KeysOnly {
				e.Value = slices.Clone(value)
			}
			entries = append(entries, e)
		}
	}
	if strings.Count(prefix, "/") == keyDepth {
		add(prefix) // the records of one key: the question that is asked all the time
		return entries
	}
	for group := range r.groups {
		if prefix == "/" || group == prefix || strings.HasPrefix(group, prefix+"/") {
			add(group)
		}
	}
	return entries
}

// Sync has nothing to do: the records live in memory only.
func (r *records) Sync(context.Context, datastore.Key) error { return nil }

// Close has nothing to do.
func (r *records) Close() error { return nil }

// Batch is applied record by record.
func (r *records) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(r), nil
}

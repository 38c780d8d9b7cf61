package admission

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Points that misbehaviour costs. A peer with [BanAt] is barred.
const (
	PointsFlood    = 2   // one request more than an address may make
	PointsProtocol = 10  // bytes that no honest peer sends; a block of them can be a disk that rots
	PointsForgery  = 25  // a credential that was forged or stolen
	BanAt          = 100 // points
)

// How bans end.
const (
	// HalfLife is how long it takes until half of a peer's points are forgotten.
	HalfLife = 10 * time.Minute
	// liftAt is the score at which a ban ends: one half-life at least after it began.
	liftAt   = BanAt / 2
	maxScore = 64 * BanAt // so that no ban lasts longer than 70 minutes beyond the last offence
	maxBans  = 4096       // peers whose points are kept
	maxWhy   = 128        // bytes
)

// Bans keeps the points of peers that misbehave. Points decay; bans are kept on
// disk, so that a restart pardons nobody, and points below a ban are not. Peer keys
// cost nothing, so this is against members and against those that come back again
// and again; what strangers may use up is bounded by [Limits], whoever they are. It
// is safe for concurrent use.
type Bans struct {
	store kv.Store
	now   func() time.Time

	mu     sync.Mutex // guards the map
	scores map[peer.ID]*score
}

type score struct {
	points float64
	at     time.Time // when points was right
	banned bool
	why    string // the last offence
}

// Ban is one peer that is barred.
type Ban struct {
	Peer  peer.ID
	Score float64
	Until time.Time // unless it misbehaves again
	Why   string
}

var banPrefix = []byte("ban/") // + peer id -> points (8, float), unix seconds (8), why

// OpenBans reads the bans of a store.
func OpenBans(store kv.Store, now func() time.Time) (*Bans, error) {
	b := &Bans{store: store, now: now, scores: make(map[peer.ID]*score)}
	err := store.Scan(banPrefix, nil, func(key, value []byte) (bool, error) {
		if len(value) < 16 {
			return false, errors.New("a stored ban is damaged")
		}
		points := math.Float64frombits(binary.BigEndian.Uint64(value))
		if math.IsNaN(points) || points < 0 || points > maxScore {
			return false, errors.New("a stored ban is damaged")
		}
		b.scores[peer.ID(key[len(banPrefix):])] = &score{
			points: points, at: time.Unix(int64(binary.BigEndian.Uint64(value[8:])), 0), banned: true, why: string(value[16:]),
		}
		return len(b.scores) < maxBans, nil
	})
	return b, err
}

// decayed are the points that are left of s.
func (s *score) decayed(now time.Time) float64 {
	return s.points * math.Exp2(-max(0, now.Sub(s.at).Seconds())/HalfLife.Seconds())
}

// Blame gives a peer points for an offence, described in a few words that are shown
// to the operator. It reports whether the peer is barred by it: a new ban is
// durable when it returns true.
func (b *Bans) Blame(p peer.ID, points float64, why string) (barred bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	s := b.scores[p]
	if s == nil {
		if len(b.scores) >= maxBans && !b.forget(now) {
			return false, nil
		}
		s = &score{at: now}
		b.scores[p] = s
	}
	s.points, s.at, s.why = min(maxScore, s.decayed(now)+max(0, points)), now, why[:min(len(why), maxWhy)]
	if s.points < BanAt && !s.banned {
		return false, nil
	}
	isNew := !s.banned
	s.banned = true
	value := binary.BigEndian.AppendUint64(nil, math.Float64bits(s.points))
	value = binary.BigEndian.AppendUint64(value, uint64(now.Unix()))
	if err := b.store.Apply([]kv.Op{{Key: banKey(p), Value: append(value, s.why...)}}); err != nil {
		return isNew, fmt.Errorf("keeping a ban: %w", err) // it holds in this process all the same
	}
	return isNew, nil
}

func banKey(p peer.ID) []byte { return append(slices.Clone(banPrefix), p...) }

// forget drops those that have no points to speak of and, of the others that are
// not barred, the quarter with the fewest: not one by one, since a crowd of new
// peers would make that dear. The caller holds mu.
func (b *Bans) forget(now time.Time) bool {
	var rest []peer.ID
	for p, s := range b.scores {
		b.lifted(p, s, now)
		switch {
		case s.banned:
		case s.decayed(now) < 1:
			delete(b.scores, p)
		default:
			rest = append(rest, p)
		}
	}
	if len(b.scores) >= maxBans {
		slices.SortFunc(rest, func(p, q peer.ID) int { return cmp.Compare(b.scores[p].decayed(now), b.scores[q].decayed(now)) })
		for _, p := range rest[:(len(rest)+3)/4] {
			delete(b.scores, p)
		}
	}
	return len(b.scores) < maxBans
}

// lifted ends a ban whose time is over. The caller holds mu.
func (b *Bans) lifted(p peer.ID, s *score, now time.Time) bool {
	if !s.banned || s.decayed(now) >= liftAt {
		return false
	}
	s.banned = false
	b.store.Apply([]kv.Op{{Key: banKey(p), Delete: true}}) // if it fails, the next start reads a ban that is over
	return true
}

// Barred reports whether a peer is barred now.
func (b *Bans) Barred(p peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.scores[p]
	return s != nil && s.banned && !b.lifted(p, s, b.now())
}

// List are the bans of now, the highest score first.
func (b *Bans) List() []Ban {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var out []Ban
	for p, s := range b.scores {
		if !s.banned || b.lifted(p, s, now) {
			continue
		}
		left := s.decayed(now)
		ends := time.Duration(math.Log2(left/liftAt) * float64(HalfLife))
		out = append(out, Ban{Peer: p, Score: left, Until: now.Add(ends), Why: s.why})
	}
	slices.SortFunc(out, func(a, b Ban) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Peer, b.Peer))
	})
	return out
}

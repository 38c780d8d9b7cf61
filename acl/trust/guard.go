package trust

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// ErrSecond reports a second statement for a position that was signed for.
var ErrSecond = errors.New("another statement was signed for this position")

// Guard keeps a signer from saying two things in one position. It remembers, for
// each (kind, root epoch, version), the one statement that may be signed. One
// store has one guard; it is safe for concurrent use.
type Guard struct {
	store kv.Store
	mu    sync.Mutex
}

// Permitter says what may be signed: a [Guard], or somebody who asks one.
type Permitter interface {
	Permit(kind string, epoch, version uint64, id statement.ID) error
}

// NewGuard is the guard over a store of its own.
func NewGuard(store kv.Store) *Guard { return &Guard{store: store} }

// Permit says whether id may be signed, and remembers it: on a nil return the
// answer is durable. The error is [ErrSecond], with the first id, where another
// statement was permitted; any other error permits nothing.
func (g *Guard) Permit(kind string, epoch, version uint64, id statement.ID) error {
	if kind == "" || len(kind) > 64 || strings.Contains(kind, "/") {
		return errors.New("a guarded kind is a short word")
	}
	key := binary.BigEndian.AppendUint64([]byte("guard/"+kind+"/"), epoch)
	key = binary.BigEndian.AppendUint64(key, version)
	g.mu.Lock()
	defer g.mu.Unlock()
	had, err := g.store.Get(key)
	switch {
	case err == nil && string(had) == string(id[:]):
		// A write that failed may have left this behind without being durable.
		return g.store.Apply([]kv.Op{{Key: key, Value: id[:]}})
	case err == nil && len(had) == len(id):
		return fmt.Errorf("%w: %s %d.%d is %s", ErrSecond, kind, epoch, version, statement.ID(had))
	case err == nil:
		return errors.New("the signing guard is damaged")
	case !errors.Is(err, kv.ErrNotFound):
		return err
	}
	return g.store.Apply([]kv.Op{{Key: key, Value: id[:]}})
}

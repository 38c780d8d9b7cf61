package object

import (
	"fmt"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/ipfs/go-cid"
)

// Relabel gives owned objects other labels, all or none, durably, and has them dealt
// again with those: until T validators took that they count as local. change gives the
// labels of one. What was retired, lost or erased is left as it is.
func (l *Library) Relabel(addresses []cid.Cid, change func(cid.Cid, []validator.Label) ([]validator.Label, error)) error {
	l.entries.Lock()
	defer l.entries.Unlock()
	var out []store.Object
	for _, a := range addresses {
		o, err := l.Store.Object(a)
		if err != nil {
			return err
		}
		if !o.Owned || o.State >= StateConflict {
			continue
		}
		var loc local
		if err := statement.Unmarshal(o.Local, &loc); err != nil {
			return fmt.Errorf("index entry of %s: %w", a, err)
		}
		if loc.Labels, err = change(a, loc.Labels); err != nil {
			return err
		}
		if o.Local, err = statement.Marshal(loc); err != nil {
			return err
		}
		o.State = StateLocal
		out = append(out, o)
	}
	if len(out) == 0 {
		return nil
	}
	return l.Store.PutObjects(out)
}

package trust

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// KindPin is the kind of pins that root keys sign.
const KindPin statement.Kind = "pin"

// ErrPin reports a chain that does not hold a record that it must hold.
var ErrPin = errors.New("the committee records do not lead through the pinned one")

// Pin names a recent record, so that a newcomer is not led down an old branch.
type Pin struct {
	_         struct{} `cbor:",toarray"`
	RootEpoch uint64
	Version   uint64
	Record    statement.ID
}

// Pin names the record.
func (c *Committee) Pin() Pin { return Pin{RootEpoch: c.RootEpoch, Version: c.Version, Record: c.id} }

// Holds reports [ErrPin] unless the pinned record stands on the line that counts.
func (c *Chain) Holds(p Pin) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.records[p.Record]
	if r == nil || !c.line[p.Record] || r.RootEpoch != p.RootEpoch || r.Version != p.Version {
		return fmt.Errorf("%w: root epoch %d, version %d, %s", ErrPin, p.RootEpoch, p.Version, p.Record)
	}
	return nil
}

// VerifyPin checks a pin that the root threshold of the pinned record signed, at
// the indexes of its root keys.
func (c *Chain) VerifyPin(raw []byte) (*Pin, error) {
	s, err := statement.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPin, err)
	}
	var p Pin
	if err := s.Peek(KindPin, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPin, err)
	}
	if err := c.Holds(p); err != nil {
		return nil, err
	}
	r, _ := c.Known(p.Record)
	if err := s.Verify(KindPin, r.RootKeys, int(r.RootThreshold)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPin, err)
	}
	return &p, nil
}

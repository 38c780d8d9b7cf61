package keystore

import (
	"fmt"
	"io"
)

// The types of this package that hold secrets show them neither to fmt nor to
// JSON, the two ways into a log.

const hidden = "keystore(hidden)"

func hiddenJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// String never shows the keys. A Contents has a field of the name that
// [fmt.Formatter] wants, so that, alone of these types, it does not hide from
// verbs that are meant for numbers.
func (c Contents) String() string { return hidden }

// GoString never shows the keys.
func (c Contents) GoString() string { return hidden }

// MarshalJSON never shows the keys.
func (c Contents) MarshalJSON() ([]byte, error) { return hiddenJSON() }

// Format never shows the keys, whatever the verb.
func (i Identity) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalJSON never shows the keys.
func (i Identity) MarshalJSON() ([]byte, error) { return hiddenJSON() }

// Format never shows the keys, whatever the verb.
func (v Validator) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalJSON never shows the keys.
func (v Validator) MarshalJSON() ([]byte, error) { return hiddenJSON() }

// Format never shows the passphrase, whatever the verb.
func (p Protection) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalJSON never shows the passphrase.
func (p Protection) MarshalJSON() ([]byte, error) { return hiddenJSON() }

// Format never shows the store's keys, whatever the verb.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// Format never shows the identity, whatever the verb.
func (o *Opener) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

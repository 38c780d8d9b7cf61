package witness

import (
	"encoding/binary"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// In a witness's store:
//
//	binding/ORIGIN         the signed binding of a log
//	state/ORIGIN           the newest checkpoint that was cosigned, as CBOR of state
//	recent/ORIGIN/SLOT     checkpoints cosigned lately, bare; the slot is one byte
//	change/NUMBER          origin of the log whose state was the NUMBERth to change (8 bytes, big endian)
//	restored               when it was noticed that this store is an old copy, as CBOR of restored
const recentSlots = 16

func bindingKey(origin string) []byte { return []byte("binding/" + origin) }
func stateKey(origin string) []byte   { return []byte("state/" + origin) }

func recentKey(origin string, count uint64) []byte {
	return append([]byte("recent/"+origin+"/"), byte(count%recentSlots))
}

var (
	changePrefix = []byte("change/")
	restoredKey  = []byte("restored")
)

func changeKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), changePrefix...), number)
}

// state is what a witness knows of a log.
type state struct {
	_          struct{} `cbor:",toarray"`
	Checkpoint []byte   // bare
	At         int64    // when it was cosigned first, Unix milliseconds
	Count      uint64   // of checkpoints that were cosigned before it
	Change     uint64   // number of the change that made it
}

// restored says that a witness once signed what its store does not know.
type restored struct {
	_  struct{} `cbor:",toarray"`
	At int64    // when it was noticed, Unix milliseconds
}

// log is a log that a witness has been introduced to.
type log struct {
	raw     []byte
	binding *audit.Binding
}

// state reads what was cosigned last of a log; Checkpoint is nil where nothing was.
// The caller holds the lock of the origin.
func (w *Witness) state(b *audit.Binding) (state, audit.Checkpoint, error) {
	raw, err := w.store.Get(stateKey(b.Origin))
	if errors.Is(err, kv.ErrNotFound) {
		return state{}, audit.Checkpoint{}, nil
	}
	if err != nil {
		return state{}, audit.Checkpoint{}, err
	}
	var s state
	if err := statement.Unmarshal(raw, &s); err != nil {
		return state{}, audit.Checkpoint{}, fmt.Errorf("what the witness keeps of a log is damaged: %w", err)
	}
	c, err := b.OpenCheckpoint(s.Checkpoint)
	return s, c, err
}

// sameSize finds a checkpoint that was cosigned lately and has so many records.
func (w *Witness) sameSize(b *audit.Binding, size int64) (found audit.Checkpoint, err error) {
	err = w.store.Scan([]byte("recent/"+b.Origin+"/"), nil, func(_, raw []byte) (bool, error) {
		c, err := b.OpenCheckpoint(raw)
		if err != nil {
			return false, fmt.Errorf("what the witness keeps of a log is damaged: %w", err)
		}
		if c.N == size {
			found = c
		}
		return c.N != size, nil
	})
	return found, err
}

// keep makes a checkpoint the newest of its log, durably.
func (w *Witness) keep(b *audit.Binding, old state, checkpoint []byte) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	s := state{Checkpoint: checkpoint, At: w.now().UnixMilli(), Change: w.changes + 1}
	ops := []kv.Op{{Key: changeKey(s.Change), Value: []byte(b.Origin)}}
	if old.Checkpoint != nil {
		s.Count = old.Count + 1
		ops = append(ops, kv.Op{Key: changeKey(old.Change), Delete: true})
	}
	raw, err := statement.Marshal(s)
	if err != nil {
		return err
	}
	ops = append(ops, kv.Op{Key: stateKey(b.Origin), Value: raw}, kv.Op{Key: recentKey(b.Origin, s.Count), Value: checkpoint})
	if err := w.store.Apply(ops); err != nil {
		return err
	}
	w.changes = s.Change
	return nil
}

// Since are checkpoints, each the newest that this witness cosigned of its log, in
// the order in which they became that: those that did after the change with a number
// (0: all), at most so many. next is the number to go on with. A number that this
// witness has not come to is one from before it was restored from an old copy: it
// begins again.
func (w *Witness) Since(change uint64, most int) (checkpoints [][]byte, next uint64, err error) {
	if change > w.Changes() {
		change = 0
	}
	next = change
	err = w.store.Scan(changePrefix, changeKey(change), func(key, origin []byte) (bool, error) {
		if len(checkpoints) >= most {
			return false, nil
		}
		raw, err := w.store.Get(stateKey(string(origin)))
		if err != nil {
			return false, err
		}
		var s state
		if err := statement.Unmarshal(raw, &s); err != nil {
			return false, err
		}
		next = binary.BigEndian.Uint64(key[len(changePrefix):])
		checkpoints = append(checkpoints, s.Checkpoint)
		return true, nil
	})
	return checkpoints, next, err
}

// Latest is the newest checkpoint of a log that this witness cosigned, with the
// signature of the log alone; nil where there is none.
func (w *Witness) Latest(origin string) ([]byte, error) {
	l, err := w.log(origin)
	if l == nil || err != nil {
		return nil, err
	}
	s, _, err := w.state(l.binding)
	return s.Checkpoint, err
}

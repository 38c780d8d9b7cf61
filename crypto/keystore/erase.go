package keystore

import (
	"errors"
	"fmt"
)

// Destroy overwrites slots in place with random bytes and frees them, durably
// on return. A slot that is free already is overwritten again, so that a
// Destroy that was interrupted can be repeated; but a number is not a secret: a
// slot that was freed may serve another one since. [Erasable.Erase] checks that.
func (e *Erasable) Destroy(slots ...uint64) error {
	return e.destroy(slots, func(uint64, slotState) bool { return true })
}

// Erase destroys the keys of sealed secrets, durably on return. A slot that
// serves another secret by now is left alone, so that an erasure may be
// repeated at any time; a slot that is damaged is destroyed.
func (e *Erasable) Erase(sealed ...Sealed) error {
	var slots []uint64
	seen := make(map[uint64]slotState)
	for _, s := range sealed {
		if len(s.Ciphertext) < tagSize {
			return fmt.Errorf("%w: a ciphertext of %d bytes", ErrDamaged, len(s.Ciphertext))
		}
		was, err := e.state(s.Slot) // before the disk, so that a change in between shows
		if err != nil {
			return err
		}
		buf, err := e.read(s.Slot)
		if err != nil {
			return err
		}
		key, err := e.wrap.unwrap(buf, s.Slot, s.Ciphertext[:tagSize])
		clear(key)
		inHand := was.now == stateUsed || was.now == stateFresh
		switch {
		case errors.Is(err, ErrErased) && buf[0] != slotFree: // serves another secret
		case buf[0] == slotFree && inHand: // another secret is on its way into it
		default:
			slots = append(slots, s.Slot)
			seen[s.Slot] = was
		}
	}
	return e.destroy(slots, func(slot uint64, now slotState) bool { return now.gen == seen[slot].gen })
}

func (e *Erasable) state(slot uint64) (slotState, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slot >= uint64(len(e.slots)) {
		return slotState{}, fmt.Errorf("slot %d: %w: the file ends before it", slot, ErrDamaged)
	}
	return e.slots[slot], nil
}

// Reclaim destroys, after a crash, the slots that nobody refers to: sealed, but
// their ciphertexts never stored. used says who does; it is asked only about
// slots that were in use when the store was opened, so that secrets sealed
// meanwhile are safe. It returns how many slots were freed.
func (e *Erasable) Reclaim(used func(slot uint64) bool) (int, error) {
	e.mu.Lock()
	var old []uint64
	for slot, s := range e.slots {
		if s.now == stateUsed {
			old = append(old, uint64(slot))
		}
	}
	e.mu.Unlock()

	orphans := old[:0]
	for _, slot := range old {
		if !used(slot) {
			orphans = append(orphans, slot)
		}
	}
	freed := 0
	for len(orphans) > 0 {
		n := min(len(orphans), maxBatch)
		if err := e.destroy(orphans[:n], func(_ uint64, s slotState) bool {
			if s.now != stateUsed { // somebody destroyed it meanwhile
				return false
			}
			freed++
			return true
		}); err != nil {
			return 0, err
		}
		orphans = orphans[n:]
	}
	return freed, nil
}

// destroy scrubs the slots of which still says, under the lock, that it may.
func (e *Erasable) destroy(slots []uint64, still func(uint64, slotState) bool) error {
	if len(slots) == 0 {
		return nil
	}
	if len(slots) > maxBatch {
		return fmt.Errorf("%d slots at once, at most %d", len(slots), maxBatch)
	}
	b, err := e.enqueueDestroy(slots, still)
	if err != nil {
		return err
	}
	return e.commit(b)
}

func (e *Erasable) enqueueDestroy(slots []uint64, still func(uint64, slotState) bool) (*slotBatch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	for _, slot := range slots {
		if slot >= uint64(len(e.slots)) {
			return nil, fmt.Errorf("slot %d does not exist", slot)
		}
	}
	b := &slotBatch{frees: true}
	wasFree := false
	for _, slot := range slots {
		if !still(slot, e.slots[slot]) {
			continue
		}
		wasFree = wasFree || e.slots[slot].now == stateFree
		e.slots[slot].now = stateDying
		b.slots = append(b.slots, slot)
	}
	if wasFree {
		e.dropFromFree()
	}
	b.data = make([]byte, len(b.slots)*slotSize)
	for i := range b.slots {
		scrub(b.data[i*slotSize:][:slotSize])
	}
	e.queue = append(e.queue, b)
	return b, nil
}

// dropFromFree takes slots off the stack that are being scrubbed once more:
// nobody may be given one before that is written.
func (e *Erasable) dropFromFree() {
	kept := e.free[:0]
	for _, slot := range e.free {
		if e.slots[slot].now == stateFree {
			kept = append(kept, slot)
		}
	}
	e.free = kept
}

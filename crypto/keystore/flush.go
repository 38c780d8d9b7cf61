package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
)

// commit makes a queued batch durable. Whoever gets the flush lock first writes
// for everybody who is queued by then; the others find their batch done.
func (e *Erasable) commit(b *slotBatch) error {
	e.flush.Lock()
	defer e.flush.Unlock()
	if b.done {
		return b.err
	}
	e.mu.Lock()
	batches, err := e.queue, e.failed
	e.queue = nil
	e.mu.Unlock()

	if err == nil {
		err = e.write(batches)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil && e.failed == nil {
		e.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	for _, done := range batches {
		done.done, done.err = true, e.failed
		clear(done.data)
		if !done.frees || e.failed != nil {
			continue
		}
		for _, slot := range done.slots {
			if e.slots[slot].now == stateDying {
				e.slots[slot].now = stateFree
				e.free = append(e.free, slot)
			}
		}
	}
	return b.err
}

// write puts batches into the file, neighbours together, and flushes once.
func (e *Erasable) write(batches []*slotBatch) error {
	last := make(map[uint64][]byte) // where a slot is written twice, the later one counts
	for _, b := range batches {
		for i, slot := range b.slots {
			last[slot] = b.data[i*slotSize:][:slotSize]
		}
	}
	if len(last) == 0 {
		return nil
	}
	slots := make([]uint64, 0, len(last))
	for slot := range last {
		slots = append(slots, slot)
	}
	sort.Slice(slots, func(i, j int) bool { return slots[i] < slots[j] })

	if err := e.put(slots, last); err != nil {
		return err
	}
	return e.file.Sync()
}

// put writes sorted slots, run by run.
func (e *Erasable) put(slots []uint64, content map[uint64][]byte) error {
	e.io.Lock()
	defer e.io.Unlock()
	if err := e.grow(slotOffset(slots[len(slots)-1] + 1)); err != nil {
		return err
	}
	var run bytes.Buffer
	for i, slot := range slots {
		run.Write(content[slot])
		if i+1 < len(slots) && slots[i+1] == slot+1 {
			continue
		}
		first := slotOffset(slot+1) - int64(run.Len())
		if _, err := e.file.WriteAt(run.Bytes(), first); err != nil {
			return err
		}
		run.Reset()
	}
	return nil
}

// growth is how many bytes of free slots are added at a time, so that most
// writes later overwrite blocks that the file has already.
const growth = 64 << 10

func (e *Erasable) grow(need int64) error {
	if need <= e.end {
		return nil
	}
	end := need + growth - 1
	end -= end % growth
	if _, err := e.file.WriteAt(make([]byte, end-e.end), e.end); err != nil {
		return err
	}
	e.end = end
	return nil
}

// Close waits for the flush in progress and releases the file. What was
// acknowledged is durable already; writers still queued get [ErrClosed].
func (e *Erasable) Close() error {
	e.flush.Lock()
	defer e.flush.Unlock()
	e.mu.Lock()
	already := errors.Is(e.failed, ErrClosed)
	e.failed = ErrClosed
	e.mu.Unlock()
	if already {
		return nil
	}
	e.io.Lock()
	defer e.io.Unlock()
	return e.file.Close()
}

package keystore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

// Errors of the erasable store that callers branch on; see also [ErrDamaged],
// [ErrFailed] and [ErrLocked].
var (
	// ErrErased reports a secret whose key was destroyed; nothing brings it back.
	ErrErased = errors.New("the secret was erased")
	// ErrMaster reports a slot file that was made under another master key.
	ErrMaster = errors.New("the store belongs to another master key")
	// ErrClosed reports a store that was closed.
	ErrClosed = errors.New("the store is closed")
)

// Limits of an erasable store.
const (
	MaxSecret = 1 << 20 // bytes of one secret
	MaxSlots  = 1 << 26 // secrets in one store (a file of 8 GiB)
	maxBatch  = 1 << 16 // items or slots in one call
)

// Item is a secret to seal. AAD, which must be shown again to open it, ties it
// to its place: an object's id, a share's index.
type Item struct {
	AAD    []byte
	Secret []byte
}

// Sealed is what the caller keeps, anywhere: without the slot it opens nothing.
type Sealed struct {
	_          struct{} `cbor:",toarray"`
	Slot       uint64
	Ciphertext []byte // the slot's tag, then ChaCha20-Poly1305 under the slot's key
}

// slotFile is the disk that the store needs. WriteAt may be lost before Sync
// returns nil; after an error of either, nothing is known.
type slotFile interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Sync() error
	Size() (int64, error)
	Close() error
}

// slotState is a slot in memory. Only a slot that is dying becomes free again,
// and only once its destruction is durable, so that it is never handed out twice.
type slotState struct {
	now uint8
	gen uint32 // counts how often the slot was handed out since the store was opened
}

const (
	stateFree  uint8 = iota
	stateUsed        // sealed before the store was opened
	stateFresh       // sealed since, or about to be: Reclaim leaves it alone
	stateDying       // its destruction is queued
)

// Erasable keeps secrets so that they can be destroyed for good: each is
// encrypted under a key of its own, and the keys live in one small file whose
// slots are overwritten in place. It may be used by several goroutines;
// concurrent writers share one flush.
type Erasable struct {
	file slotFile
	wrap *wrapper

	mu     sync.Mutex // guards what follows
	slots  []slotState
	free   []uint64     // a stack of free slots
	queue  []*slotBatch // in the order in which slots changed hands
	failed error        // why nothing is written any more

	flush sync.Mutex   // held by the caller that writes for all; guards end
	end   int64        // the file's size
	io    sync.RWMutex // keeps a reader from seeing half a slot
}

// slotBatch is one caller's writes. done and err belong to the flush lock.
type slotBatch struct {
	slots []uint64
	data  []byte // len(slots) slots of slotSize bytes
	frees bool   // the slots become free once this is durable
	done  bool
	err   error
}

// OpenErasable opens the slot file at path, or creates it durably, and locks it
// ([ErrLocked]). master is the home's master key; another one is refused with
// [ErrMaster]. Slots are checked one by one as they are opened, not here; a
// slot that was cut off at the end of the file was never acknowledged.
func OpenErasable(path string, master []byte) (*Erasable, error) {
	f, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	e, err := openErasable(f, master)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

func openErasable(f slotFile, master []byte) (*Erasable, error) {
	if len(master) != MasterSize || allZero(master) {
		return nil, fmt.Errorf("a master key is %d random bytes", MasterSize)
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	head := make([]byte, headerSize)
	if size >= headerSize {
		if _, err := f.ReadAt(head, 0); err != nil {
			return nil, err
		}
	}
	e := &Erasable{file: f}
	if size < headerSize || size == headerSize && allZero(head) {
		// A power cut while the file was being created: no slot can have been
		// acknowledged before the header was.
		return e, e.create(master)
	}
	if e.wrap, err = parseHeader(head, master); err != nil {
		return nil, err
	}
	n := uint64(size-headerSize) / slotSize
	if n > MaxSlots {
		return nil, fmt.Errorf("%w: %d slots, at most %d", ErrDamaged, n, MaxSlots)
	}
	return e, e.load(n)
}

// load learns which of n slots are free; the stack gives the lowest first.
func (e *Erasable) load(n uint64) error {
	states, err := readStates(e.file, n)
	if err != nil {
		return err
	}
	e.end = slotOffset(n)
	e.slots = make([]slotState, n)
	for i := len(states) - 1; i >= 0; i-- {
		if states[i] == slotFree {
			e.free = append(e.free, uint64(i))
		} else {
			e.slots[i].now = stateUsed
		}
	}
	return nil
}

func (e *Erasable) create(master []byte) error {
	head, w, err := newHeader(master)
	if err != nil {
		return err
	}
	if _, err := e.file.WriteAt(head, 0); err != nil {
		return err
	}
	if err := e.file.Sync(); err != nil {
		return err
	}
	e.wrap, e.end = w, headerSize
	return nil
}

// Len is the number of slots in use and the number of slots in all.
func (e *Erasable) Len() (used, all int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.slots) - len(e.free), len(e.slots)
}

// SealMany seals secrets, each under a fresh key. On return the keys are
// durable, by one flush for all; the ciphertexts are the caller's to store.
// Where the caller does not come to store them, [Erasable.Reclaim] finds the
// slots after the next start. On an error nothing is sealed.
func (e *Erasable) SealMany(items []Item) ([]Sealed, error) {
	if len(items) == 0 {
		return nil, nil
	}
	if len(items) > maxBatch {
		return nil, fmt.Errorf("%d secrets at once, at most %d", len(items), maxBatch)
	}
	for _, it := range items {
		if len(it.Secret) > MaxSecret {
			return nil, fmt.Errorf("a secret of %d bytes, at most %d", len(it.Secret), MaxSecret)
		}
	}
	keys := make([]byte, len(items)*keySize)
	tags := make([]byte, len(items)*tagSize)
	defer clear(keys)
	rand.Read(keys)
	rand.Read(tags)
	out := make([]Sealed, len(items))
	for i, it := range items {
		c, err := sealUnder(keys[i*keySize:][:keySize], tags[i*tagSize:][:tagSize], it)
		if err != nil {
			return nil, err
		}
		out[i].Ciphertext = c
	}
	b, err := e.enqueueSeal(len(items), keys, tags)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Slot = b.slots[i]
	}
	if err := e.commit(b); err != nil {
		return nil, err
	}
	return out, nil
}

// sealUnder encrypts with a zero nonce: the key seals this and nothing else.
func sealUnder(key, tag []byte, it Item) ([]byte, error) {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, tagSize, tagSize+len(it.Secret)+chacha20poly1305.Overhead)
	copy(out, tag)
	return aead.Seal(out, make([]byte, chacha20poly1305.NonceSize), it.Secret, it.AAD), nil
}

// enqueueSeal takes slots and queues their content in one step, so that the
// queue holds writes to a slot in the order in which it changed hands.
func (e *Erasable) enqueueSeal(n int, keys, tags []byte) (*slotBatch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed != nil {
		return nil, e.failed
	}
	if len(e.slots)-len(e.free)+n > MaxSlots {
		return nil, fmt.Errorf("the store is full: %d secrets", MaxSlots)
	}
	b := &slotBatch{slots: make([]uint64, n), data: make([]byte, n*slotSize)}
	for i := range b.slots {
		slot := uint64(len(e.slots))
		if last := len(e.free) - 1; last >= 0 {
			slot, e.free = e.free[last], e.free[:last]
		} else {
			e.slots = append(e.slots, slotState{})
		}
		e.slots[slot].now = stateFresh
		e.slots[slot].gen++
		b.slots[i] = slot
		e.wrap.wrap(b.data[i*slotSize:][:slotSize], slot, tags[i*tagSize:][:tagSize], keys[i*keySize:][:keySize])
	}
	e.queue = append(e.queue, b)
	return b, nil
}

// Open gives a secret back. aad is what it was sealed with. It fails with
// [ErrErased] where the key was destroyed, also when its slot serves another
// secret since, and with [ErrDamaged] where slot or ciphertext is not what was
// written.
func (e *Erasable) Open(s Sealed, aad []byte) ([]byte, error) {
	if len(s.Ciphertext) < tagSize+chacha20poly1305.Overhead {
		return nil, fmt.Errorf("%w: a ciphertext of %d bytes", ErrDamaged, len(s.Ciphertext))
	}
	tag, ciphertext := s.Ciphertext[:tagSize], s.Ciphertext[tagSize:]
	buf, err := e.read(s.Slot)
	if err != nil {
		return nil, err
	}
	key, err := e.wrap.unwrap(buf, s.Slot, tag)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), ciphertext, aad)
	if err != nil {
		return nil, fmt.Errorf("%w: the ciphertext does not belong to its slot", ErrDamaged)
	}
	return secret, nil
}

func (e *Erasable) read(slot uint64) ([]byte, error) {
	e.mu.Lock()
	known, failed := slot < uint64(len(e.slots)), e.failed
	e.mu.Unlock()
	if errors.Is(failed, ErrClosed) {
		return nil, failed
	}
	if !known { // files only grow: this one lost its end
		return nil, fmt.Errorf("slot %d: %w: the file ends before it", slot, ErrDamaged)
	}
	buf := make([]byte, slotSize)
	e.io.RLock()
	defer e.io.RUnlock()
	if _, err := e.file.ReadAt(buf, slotOffset(slot)); err != nil {
		return nil, fmt.Errorf("slot %d: %w: %w", slot, ErrDamaged, err)
	}
	return buf, nil
}

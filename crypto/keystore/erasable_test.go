package keystore

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

var testMaster = bytes.Repeat([]byte{0x5a}, MasterSize)

func openAt(t testing.TB, path string) *Erasable {
	t.Helper()
	e, err := OpenErasable(path, testMaster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func reopen(t testing.TB, e *Erasable, path string) *Erasable {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return openAt(t, path)
}

func slotPath(t testing.TB) string { return filepath.Join(t.TempDir(), "slots") }

func someItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{AAD: fmt.Appendf(nil, "object %d", i), Secret: make([]byte, 64)}
		rand.Read(items[i].Secret)
	}
	return items
}

func seal(t testing.TB, e *Erasable, items []Item) []Sealed {
	t.Helper()
	sealed, err := e.SealMany(items)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func mustOpen(t testing.TB, e *Erasable, s Sealed, it Item) {
	t.Helper()
	got, err := e.Open(s, it.AAD)
	if err != nil {
		t.Fatalf("slot %d: %v", s.Slot, err)
	}
	if !bytes.Equal(got, it.Secret) {
		t.Fatalf("slot %d: another secret came out", s.Slot)
	}
}

func mustBeErased(t testing.TB, e *Erasable, s Sealed, it Item) {
	t.Helper()
	if got, err := e.Open(s, it.AAD); !errors.Is(err, ErrErased) || got != nil {
		t.Fatalf("slot %d: %v, want ErrErased", s.Slot, err)
	}
}

func TestSecretsComeBackAfterReopening(t *testing.T) {
	path, items := slotPath(t), someItems(600) // more than one growth of the file
	items[3].Secret, items[4].AAD = nil, nil
	items[5].Secret = make([]byte, MaxSecret)
	e := openAt(t, path)
	sealed := seal(t, e, items)
	for range 2 {
		for i := range items {
			mustOpen(t, e, sealed[i], items[i])
		}
		if used, _ := e.Len(); used != len(items) {
			t.Fatalf("%d slots in use, want %d", used, len(items))
		}
		e = reopen(t, e, path)
	}
	checkPrivate(t, path, 0o600)
}

func TestASecretIsTiedToItsPlace(t *testing.T) {
	e := openAt(t, slotPath(t))
	items := someItems(2)
	sealed := seal(t, e, items)
	if _, err := e.Open(sealed[0], items[1].AAD); !errors.Is(err, ErrDamaged) {
		t.Errorf("other additional data: %v", err)
	}
	swapped := Sealed{Slot: sealed[1].Slot, Ciphertext: sealed[0].Ciphertext}
	if _, err := e.Open(swapped, items[0].AAD); !errors.Is(err, ErrErased) {
		t.Errorf("another slot: %v", err)
	}
	for _, n := range []int{0, tagSize, tagSize + 15} {
		if _, err := e.Open(Sealed{Slot: 0, Ciphertext: make([]byte, n)}, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("ciphertext of %d bytes: %v", n, err)
		}
	}
	if _, err := e.Open(Sealed{Slot: 1 << 40, Ciphertext: sealed[0].Ciphertext}, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a slot behind the end: %v", err)
	}
	for i := tagSize; i < len(sealed[0].Ciphertext); i++ {
		bad := bytes.Clone(sealed[0].Ciphertext)
		bad[i] ^= 1
		if _, err := e.Open(Sealed{Slot: sealed[0].Slot, Ciphertext: bad}, items[0].AAD); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
	mustOpen(t, e, sealed[0], items[0]) // control
}

// After an erasure no file of the home may hold the key, wrapped or not. The
// same search before the erasure is the control.
func TestNothingOfADestroyedKeyIsLeftInTheFile(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	items := someItems(3)
	sealed := seal(t, e, items)
	buf, err := e.read(sealed[1].Slot)
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.wrap.unwrap(buf, sealed[1].Slot, sealed[1].Ciphertext[:tagSize])
	if err != nil {
		t.Fatal(err)
	}
	needles := map[string][]byte{
		"wrapped key":         buf[slotKey:slotEnd],
		"half of it":          buf[slotKey : slotKey+16],
		"its nonce":           buf[slotNonce:slotKey],
		"its tag":             buf[slotTag:slotNonce],
		"the key in the open": key,
	}
	search := func() map[string]bool {
		found := make(map[string]bool)
		files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for what, needle := range needles {
				found[what] = found[what] || bytes.Contains(content, needle)
			}
		}
		return found
	}
	for what, found := range search() {
		if want := what != "the key in the open"; found != want {
			t.Fatalf("before: %s found: %v, want %v", what, found, want)
		}
	}
	if err := e.Destroy(sealed[1].Slot); err != nil {
		t.Fatal(err)
	}
	for what, found := range search() {
		if found {
			t.Errorf("after: %s is still there", what)
		}
	}
	mustBeErased(t, e, sealed[1], items[1])
	mustOpen(t, e, sealed[0], items[0])
	mustOpen(t, e, sealed[2], items[2])
	e = reopen(t, e, path)
	mustBeErased(t, e, sealed[1], items[1])
}

func TestAReusedSlotDoesNotAnswerForItsFormerSecret(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	first := someItems(1)
	old := seal(t, e, first)[0]
	if err := e.Destroy(old.Slot); err != nil {
		t.Fatal(err)
	}
	second := someItems(1)
	now := seal(t, e, second)[0]
	if now.Slot != old.Slot {
		t.Fatalf("slot %d was not used again but %d", old.Slot, now.Slot)
	}
	for range 2 {
		mustBeErased(t, e, old, first[0])
		mustOpen(t, e, now, second[0])
		// Repeating the erasure must not hit the new tenant.
		if err := e.Erase(old); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, e, now, second[0])
		e = reopen(t, e, path)
	}
	if err := e.Erase(now); err != nil {
		t.Fatal(err)
	}
	mustBeErased(t, e, now, second[0])
	if err := e.Erase(now); err != nil { // and once more
		t.Fatal(err)
	}
}

func TestDestroyIsIdempotentAndNeverHandsASlotOutTwice(t *testing.T) {
	e := openAt(t, slotPath(t))
	sealed := seal(t, e, someItems(4))
	for range 3 {
		if err := e.Destroy(sealed[0].Slot, sealed[0].Slot, sealed[2].Slot); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[uint64]bool{sealed[1].Slot: true, sealed[3].Slot: true}
	for _, s := range seal(t, e, someItems(50)) {
		if seen[s.Slot] {
			t.Fatalf("slot %d serves two secrets", s.Slot)
		}
		seen[s.Slot] = true
	}
	if err := e.Destroy(1 << 30); err == nil {
		t.Fatal("a slot that does not exist was destroyed")
	}
	if err := e.Destroy(); err != nil {
		t.Fatal(err)
	}
}

func TestReclaimFreesOnlyWhatACrashLeftBehind(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	items := someItems(10)
	sealed := seal(t, e, items)
	e = reopen(t, e, path) // as after a crash: only even ones were stored
	late := someItems(2)
	lateSealed := seal(t, e, late) // nobody refers to them yet
	freed, err := e.Reclaim(func(slot uint64) bool { return slot%2 == 0 })
	if err != nil || freed != 5 {
		t.Fatalf("freed %d, %v; want 5", freed, err)
	}
	for i, s := range sealed {
		if s.Slot%2 == 0 {
			mustOpen(t, e, s, items[i])
		} else {
			mustBeErased(t, e, s, items[i])
		}
	}
	for i, s := range lateSealed {
		mustOpen(t, e, s, late[i])
	}
	if freed, err := e.Reclaim(func(slot uint64) bool { return slot%2 == 0 }); err != nil || freed != 0 {
		t.Fatalf("again: freed %d, %v", freed, err)
	}
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	path := slotPath(t)
	openAt(t, path).Close()
	for name, master := range map[string][]byte{
		"other": bytes.Repeat([]byte{1}, MasterSize), "short": testMaster[1:], "zero": make([]byte, MasterSize), "none": nil,
	} {
		if _, err := OpenErasable(path, master); err == nil {
			t.Errorf("%s: accepted", name)
		} else if name == "other" && !errors.Is(err, ErrMaster) {
			t.Errorf("%s: %v, want ErrMaster", name, err)
		}
	}
	openAt(t, path) // control
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	if _, err := OpenErasable(path, testMaster); !errors.Is(err, ErrLocked) {
		t.Fatalf("%v, want ErrLocked", err)
	}
	reopen(t, e, path)
}

func TestManyAtOnceAgainstAModel(t *testing.T) {
	path := slotPath(t)
	e := openAt(t, path)
	var mu sync.Mutex
	live, dead := map[uint64]Sealed{}, []Sealed{}
	byTag := map[string]Item{}
	var wg sync.WaitGroup
	for w := range 8 {
		rng := mrand.New(mrand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for range 60 {
				items := someItems(1 + rng.IntN(5))
				sealed, err := e.SealMany(items)
				if err != nil {
					t.Error(err)
					return
				}
				var gone []Sealed
				mu.Lock()
				for i, s := range sealed {
					if _, taken := live[s.Slot]; taken {
						t.Errorf("slot %d serves two secrets", s.Slot)
					}
					live[s.Slot] = s
					byTag[string(s.Ciphertext)] = items[i]
				}
				for _, s := range live {
					if rng.IntN(4) == 0 {
						delete(live, s.Slot)
						gone = append(gone, s)
					}
				}
				if len(dead) > 0 { // and one that is long gone, at the same time as others
					gone = append(gone, dead[rng.IntN(len(dead))])
				}
				mu.Unlock()
				if err := e.Erase(gone...); err != nil {
					t.Error(err)
				}
				mu.Lock()
				dead = append(dead, gone...)
				mu.Unlock()
				for _, s := range gone {
					if _, err := e.Open(s, byTagOf(&mu, byTag, s).AAD); !errors.Is(err, ErrErased) {
						t.Errorf("erased slot %d: %v", s.Slot, err)
					}
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		for _, s := range live {
			mustOpen(t, e, s, byTag[string(s.Ciphertext)])
		}
		for _, s := range dead {
			mustBeErased(t, e, s, byTag[string(s.Ciphertext)])
		}
		if used, _ := e.Len(); used != len(live) {
			t.Fatalf("%d slots in use, the model has %d", used, len(live))
		}
		e = reopen(t, e, path)
	}
}

func byTagOf(mu *sync.Mutex, m map[string]Item, s Sealed) Item {
	mu.Lock()
	defer mu.Unlock()
	return m[string(s.Ciphertext)]
}

func TestAClosedStoreSaysSo(t *testing.T) {
	e := openAt(t, slotPath(t))
	items := someItems(1)
	sealed := seal(t, e, items)
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, sealErr := e.SealMany(items)
	_, openErr := e.Open(sealed[0], items[0].AAD)
	for _, err := range []error{sealErr, openErr, e.Destroy(0), e.Erase(sealed...)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	}
}

func TestLimitsOfABatch(t *testing.T) {
	e := openAt(t, slotPath(t))
	if s, err := e.SealMany(nil); err != nil || s != nil {
		t.Errorf("nothing to seal: %v", err)
	}
	if _, err := e.SealMany([]Item{{Secret: make([]byte, MaxSecret+1)}}); err == nil {
		t.Error("a giant secret was sealed")
	}
	if _, err := e.SealMany(make([]Item, maxBatch+1)); err == nil {
		t.Error("a giant batch was sealed")
	}
	if err := e.Destroy(make([]uint64, maxBatch+1)...); err == nil {
		t.Error("a giant batch was destroyed")
	}
}

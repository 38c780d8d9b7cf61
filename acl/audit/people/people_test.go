package people

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var (
	alice   = statement.Hash("alice")
	bob     = statement.Hash("bob")
	quarter = QuarterOf(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC))
)

func erasable(t testing.TB) (*keystore.Erasable, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	master := make([]byte, keystore.MasterSize)
	rand.Read(master)
	e, err := keystore.OpenErasable(filepath.Join(dir, "slots"), master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, dir
}

func open(t testing.TB, store kv.Store, secrets Secrets) *Table {
	t.Helper()
	table, err := Open(store, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func ensure(t testing.TB, table *Table, who ...statement.ID) []*Row {
	t.Helper()
	rows, err := table.Ensure(who...)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestAPersonHasOneRowAndItSurvivesAStart(t *testing.T) {
	secrets, _ := erasable(t)
	store := new(kv.Memory)
	table := open(t, store, secrets)
	rows := ensure(t, table, alice, statement.ID{}, alice, bob)
	if rows[0] != rows[2] || rows[0].Who != alice || rows[3].Who != bob || table.Len() != 3 {
		t.Fatalf("%d rows for three", table.Len())
	}
	sealed := rows[0].Seal([]byte("what alice did"), []byte("leaf 7"))
	again := open(t, store, secrets)
	r := again.Row(alice)
	if r == nil || r.Pseudonym(quarter) != rows[0].Pseudonym(quarter) || again.Len() != 3 {
		t.Fatal("the row did not survive")
	}
	if got, err := r.Open(sealed, []byte("leaf 7")); err != nil || string(got) != "what alice did" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.Open(sealed, []byte("leaf 8")); err == nil {
		t.Error("it opens beside another leaf")
	}
	if _, err := again.Row(bob).Open(sealed, []byte("leaf 7")); err == nil {
		t.Error("it opens under another person's key")
	}
	if _, err := r.Open(nil, nil); err == nil {
		t.Error("nothing opens")
	}
	if len(again.Slots()) != 3 {
		t.Errorf("%d slots", len(again.Slots()))
	}
}

func TestPseudonymsDoNotLinkQuartersLogsOrPersons(t *testing.T) {
	secrets, _ := erasable(t)
	here, there := open(t, new(kv.Memory), secrets), open(t, new(kv.Memory), secrets)
	seen := map[event.Pseudonym]bool{}
	for _, table := range []*Table{here, there} {
		for _, who := range []statement.ID{alice, bob} {
			r := ensure(t, table, who)[0]
			for q := range Quarter(4) {
				p := r.Pseudonym(quarter + q)
				if seen[p] || p == (event.Pseudonym{}) {
					t.Fatal("a pseudonym is used twice")
				}
				seen[p] = true
				if got := table.Behind(p, quarter+q); got == nil || got.Who != who {
					t.Error("the table does not know its own pseudonym")
				}
				if table.Behind(p, quarter+q+1) != nil {
					t.Error("a pseudonym of another quarter is known")
				}
			}
		}
	}
	late := ensure(t, here, statement.Hash("late"))[0] // after the quarter was asked for
	if here.Behind(late.Pseudonym(quarter), quarter) != late {
		t.Error("who came later is not found")
	}
	for q := range Quarter(2 * maxQuarters) {
		here.Behind(event.Pseudonym{1}, q)
	}
	if len(here.behind) > maxQuarters {
		t.Errorf("%d quarters are in memory", len(here.behind))
	}
}

func TestQuartersBeginInUTC(t *testing.T) {
	zone := time.FixedZone("east", 14*3600)
	last, first := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if QuarterOf(first) != QuarterOf(last)+1 || QuarterOf(last.In(zone)) != QuarterOf(last) {
		t.Errorf("%d, then %d, %d", QuarterOf(last), QuarterOf(first), QuarterOf(last.In(zone)))
	}
}

// holds reports files below a folder that contain some bytes.
func holds(t *testing.T, dir string, what []byte) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, what) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestQuartersHaveABeginningAndAnEnd(t *testing.T) {
	for q := QuarterOf(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); q < QuarterOf(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)); q++ {
		if QuarterOf(q.Begin()) != q || QuarterOf(q.Begin().Add(-1)) != q-1 || QuarterOf(q.End()) != q+1 || QuarterOf(q.End().Add(-1)) != q {
			t.Errorf("quarter %d is from %v to %v", q, q.Begin(), q.End())
		}
	}
}

func TestAForgottenPersonIsNowhereAndOthersStay(t *testing.T) {
	secrets, dir := erasable(t)
	store := new(kv.Memory)
	table := open(t, store, secrets)
	rows := ensure(t, table, alice, bob)
	p, sealed := rows[0].Pseudonym(quarter), rows[0].sealed
	if table.Behind(p, quarter) == nil {
		t.Fatal("control: nobody is behind the pseudonym")
	}
	for range 2 { // the second time there is nothing to do
		if err := table.Forget(alice); err != nil {
			t.Fatal(err)
		}
	}
	if table.Row(alice) != nil || table.Behind(p, quarter) != nil || table.Row(bob) == nil {
		t.Error("the wrong row is gone")
	}
	if _, err := secrets.Open(sealed, context(rows[0].name)); !errors.Is(err, keystore.ErrErased) {
		t.Errorf("the old row opens: %v", err)
	}
	again := open(t, store, secrets)
	if again.Row(alice) != nil || again.Row(bob) == nil {
		t.Error("after a start the wrong row is gone")
	}
	for _, what := range [][]byte{alice[:], []byte(alice.String()), p[:], rows[0].secret[:]} {
		if found := holds(t, dir, what); found != nil {
			t.Errorf("%v hold %x", found, what)
		}
		store.Scan(nil, nil, func(key, value []byte) (bool, error) {
			if bytes.Contains(key, what) || bytes.Contains(value, what) {
				t.Errorf("the database holds %x", what)
			}
			return true, nil
		})
	}
	fresh := ensure(t, again, alice)[0]
	if fresh.Pseudonym(quarter) == p {
		t.Error("who comes back has the old pseudonym")
	}
	if err := again.Forget(statement.ID{}); !errors.Is(err, ErrNobody) {
		t.Errorf("the log's own row: %v", err)
	}
}

// failing is a store whose writes fail while broken is set.
type failing struct {
	kv.Store
	broken error
}

func (f *failing) Apply(ops []kv.Op) error {
	if f.broken != nil {
		return f.broken
	}
	return f.Store.Apply(ops)
}

func TestARowThatIsNotDurableIsNotUsed(t *testing.T) {
	secrets, _ := erasable(t)
	disk := &failing{Store: new(kv.Memory)}
	table := open(t, disk, secrets)
	ensure(t, table, bob)
	disk.broken = errors.New("no space left on device")
	if _, err := table.Ensure(alice); !errors.Is(err, ErrFailed) || !errors.Is(err, disk.broken) {
		t.Fatalf("%v", err)
	}
	disk.broken = nil
	if _, err := table.Ensure(alice); !errors.Is(err, ErrFailed) {
		t.Errorf("it is tried again: %v", err)
	}
	if err := table.Forget(bob); !errors.Is(err, ErrFailed) {
		t.Errorf("%v", err)
	}
	ensure(t, table, bob) // who is there may still be used
	ensure(t, open(t, disk, secrets), alice)
}

// A crash between the destruction of the secret and the removal of the row.
func TestAHalfForgottenPersonIsForgottenAtTheNextStart(t *testing.T) {
	secrets, _ := erasable(t)
	disk := &failing{Store: new(kv.Memory)}
	table := open(t, disk, secrets)
	ensure(t, table, alice, bob)
	disk.broken = errors.New("the power fails")
	if err := table.Forget(alice); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	disk.broken = nil
	again := open(t, disk, secrets)
	if again.Row(alice) != nil || again.Row(bob) == nil || again.Damaged() != 0 {
		t.Error("the crash changed who is forgotten")
	}
	n := 0
	disk.Scan(nil, nil, func(_, _ []byte) (bool, error) { n++; return true, nil })
	if n != 1 {
		t.Errorf("%d entries are left, want 1", n)
	}
}

func TestADamagedRowDoesNotKeepTheTableClosed(t *testing.T) {
	secrets, _ := erasable(t)
	store := new(kv.Memory)
	ensure(t, open(t, store, secrets), alice)
	if err := store.Apply([]kv.Op{{Key: []byte("not a name"), Value: []byte("x")}, {Key: make([]byte, 16), Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	table := open(t, store, secrets)
	if table.Damaged() != 2 || table.Row(alice) == nil {
		t.Errorf("%d damaged", table.Damaged())
	}
}

func TestManyAtOnceMakeOneRow(t *testing.T) {
	secrets, _ := erasable(t)
	table := open(t, new(kv.Memory), secrets)
	var wg sync.WaitGroup
	got := make([]*Row, 16)
	for i := range got {
		wg.Go(func() {
			if rows, err := table.Ensure(alice, bob); err == nil {
				got[i] = rows[0]
			}
			table.Behind(event.Pseudonym{}, quarter)
		})
	}
	wg.Wait()
	for _, r := range got {
		if r == nil || r != got[0] {
			t.Fatal("they differ")
		}
	}
}

func FuzzRow(f *testing.F) {
	raw, err := statement.Marshal(keystore.Sealed{Slot: 1, Ciphertext: make([]byte, 64)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(make([]byte, 16), raw)
	f.Add([]byte("a"), []byte{})
	secrets, _ := erasable(f)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		table := &Table{secrets: secrets}
		if r, err := table.read(key, value); err == nil {
			t.Fatalf("bytes that nobody sealed are the row of %v", r.Who)
		}
	})
}

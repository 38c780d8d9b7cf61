package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// tail reads on from a cursor.
func tail(t *testing.T, l *Log, c *Cursor) (got [][]byte) {
	t.Helper()
	if err := l.Tail(c, func(i int64, leaf []byte) error {
		if i != c.Next()-1 {
			t.Errorf("at record %d the cursor stands before %d", i, c.Next())
		}
		got = append(got, bytes.Clone(leaf))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestACursorGoesOnWhereItStood(t *testing.T) {
	dir := t.TempDir()
	c := config(t)
	c.Segment = 2000 // a few records each
	l, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	run(t, l)
	var at Cursor
	next := 0
	for _, n := range []int{1, 0, 50, 3, 200} {
		if err := l.Append(t.Context(), events(next, next+n)...); err != nil {
			t.Fatal(err)
		}
		if got := tail(t, l, &at); fmt.Sprint(got) != fmt.Sprint(events(next, next+n)) {
			t.Errorf("behind %d records came %d, not %d", next, len(got), n)
		}
		if next += n; at.Next() != int64(next) {
			t.Errorf("after %d records the cursor stands before %d", next, at.Next())
		}
	}
	// Whoever stops in the middle goes on behind it.
	stop := errors.New("enough")
	var second Cursor
	if err := l.Tail(&second, func(i int64, _ []byte) error {
		if i == 100 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) || second.Next() != 101 {
		t.Errorf("%v, before %d", err, second.Next())
	}
	if got := tail(t, l, &second); fmt.Sprint(got) != fmt.Sprint(events(101, next)) {
		t.Errorf("behind the middle came %d records", len(got))
	}
	// What is behind a cursor and was changed is not handed on unseen.
	third := Cursor{}
	tail(t, l, &third)
	if err := l.Append(t.Context(), events(next, next+20)...); err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(dir, segmentName(l.segs[len(l.segs)-1]))
	raw, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-5] ^= 1
	if err := os.WriteFile(last, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Tail(&third, func(int64, []byte) error { return nil }); !errors.Is(err, ErrTampered) {
		t.Errorf("a changed record passes: %v", err)
	}
}

package audit

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// notes remembers what a log put beside its leaves.
type notes struct {
	items               [][]byte
	synced              int
	failAppend, failSyn error
	log                 *Log // to look at what callers are told meanwhile
	early               bool
}

func (n *notes) Append(first int64, items [][]byte) error {
	if first != int64(len(n.items)) {
		return errors.New("the items do not follow")
	}
	n.items = append(n.items, items...)
	return n.failAppend
}

func (n *notes) Sync() error {
	n.early = n.early || n.log.Size() > int64(n.synced)
	n.synced = len(n.items)
	return n.failSyn
}

func attached(t *testing.T) (*Log, *notes, func() error) {
	t.Helper()
	l := openLog(t, t.TempDir())
	n := &notes{log: l}
	l.Attach(n)
	return l, n, run(t, l)
}

func TestEveryLeafHasAnItemBesideItBeforeAnybodyIsTold(t *testing.T) {
	l, n, _ := attached(t)
	add(t, l, 0, 2) // without items
	first, err := l.Record(t.Context(), [][]byte{{1}, {2}}, [][]byte{[]byte("one"), []byte("two")})
	if err != nil || first != 2 {
		t.Fatalf("first is %d, %v", first, err)
	}
	if len(n.items) != 4 || n.items[0] != nil || !bytes.Equal(n.items[3], []byte("two")) || n.synced != 4 {
		t.Errorf("beside are %q, %d flushed", n.items, n.synced)
	}
	if n.early {
		t.Error("a leaf was called durable before its item was")
	}
	if _, err := l.Record(t.Context(), [][]byte{{1}}, [][]byte{nil, nil}); !errors.Is(err, ErrLeaf) {
		t.Errorf("two items for one leaf: %v", err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := l.Record(cancelled, [][]byte{{1}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAnItemThatCannotBeKeptFailsTheLog(t *testing.T) {
	broken := errors.New("input/output error")
	for _, part := range []string{"append", "sync"} {
		l, n, stop := attached(t)
		if part == "append" {
			n.failAppend = broken
		} else {
			n.failSyn = broken
		}
		if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
			t.Errorf("%s: %v", part, err)
		}
		n.failAppend, n.failSyn = nil, nil
		if err := l.Append(t.Context(), event(0)); !errors.Is(err, ErrFailed) {
			t.Errorf("%s, again: %v", part, err)
		}
		if l.Size() != 0 {
			t.Errorf("%s: %d are called durable", part, l.Size())
		}
		stop()
	}
}

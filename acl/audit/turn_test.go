package audit

import (
	"errors"
	"runtime"
	"testing"
	"time"
)

// Callers that write in Run's place are served by somebody who catches panics. After one
// the log takes nothing more, and nobody whose leaves were in the same write waits on.
func TestAPanicOfAWriteEndsTheLog(t *testing.T) {
	m := newMemory()
	l := m.log(t)
	stop := run(t, l)
	add(t, l, 0, 3)
	m.mu.Lock()
	m.fail = func(op, _ string) error {
		if op == "write" {
			panic("nobody thought of this")
		}
		return nil
	}
	m.mu.Unlock()
	beside := &request{leaves: [][]byte{event(3)}, done: make(chan struct{})}
	if err := l.enqueue(beside); err != nil { // Run has not been called
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		l.Append(t.Context(), event(4))
	}()
	if <-beside.done; !errors.Is(beside.err, ErrFailed) {
		t.Errorf("who was in the same write is told %v", beside.err)
	}
	<-l.ended
	if err := stop(); !errors.Is(err, ErrFailed) {
		t.Errorf("run ended with %v", err)
	}
	if err := l.Append(t.Context(), event(5)); !errors.Is(err, ErrFailed) || l.Size() != 3 {
		t.Errorf("afterwards: %v, %d records", err, l.Size())
	}
}

// Whoever wrote it, and whatever Run does at that moment, no record waits for a
// checkpoint longer than it may: a caller that writes just as the timer has run out must
// have it run again.
func TestNoRecordMissesTheTimer(t *testing.T) {
	m := newMemory()
	c := config(t)
	c.Every = 20 * time.Microsecond
	l, err := m.openWith(c)
	if err != nil {
		t.Fatal(err)
	}
	run(t, l)
	for i := range 5_000 {
		for range i % 7 { // at another moment each time
			runtime.Gosched()
		}
		if err := l.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
		if i%4 != 3 {
			continue
		}
		for deadline := time.Now().Add(20 * time.Second); l.Published().N < l.Size(); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: %d records, %d signed, and nothing more happens", i, l.Size(), l.Published().N)
			}
		}
	}
}

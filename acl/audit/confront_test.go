package audit

import (
	"errors"
	"testing"
)

// A log that is shown what its key signed and it does not continue takes nothing
// more, whatever was queued, and signs nothing more. Nobody else's word does that.
func TestALogThatDoesNotContinueWhatItSignedStops(t *testing.T) {
	ahead, other := filled(t, 30), filled(t, 5)
	add(t, other, 100, 115)
	forked, err := other.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]Checkpoint{"larger": ahead.Published(), "another history": forked} {
		l := filled(t, 25)
		if err := l.Confront([]byte("nothing")); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
		foreign := append([]byte(nil), shown.Note...)
		foreign[len(foreign)-9] ^= 1
		if err := l.Confront(foreign); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s, not signed: %v", name, err)
		}
		if err := l.Confront(l.Published().Note); err != nil || l.Disowned() != nil {
			t.Errorf("%s: its own checkpoint stops it: %v", name, err)
		}
		add(t, l, 25, 26) // control
		signed := l.Published().N
		for range 2 {
			if err := l.Confront(shown.Note); !errors.Is(err, ErrDisowned) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := l.Append(t.Context(), event(26)); !errors.Is(err, ErrDisowned) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := l.Checkpoint(t.Context()); !errors.Is(err, ErrDisowned) {
			t.Errorf("%s: a checkpoint: %v", name, err)
		}
		if err := l.Close(); err != nil || l.Published().N != signed {
			t.Errorf("%s: closing it signed %d records: %v", name, l.Published().N, err)
		}
	}
}

// A log whose disk failed and that is disowned says both, and Run ends of the disk in
// either order.
func TestADisownedLogOnAFailedDiskSaysBoth(t *testing.T) {
	ahead, broken := filled(t, 30), errors.New("input/output error")
	for _, first := range []string{"disk", "word"} {
		m := newMemory()
		l := m.log(t)
		stop := run(t, l)
		add(t, l, 0, 5)
		m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 4)
		answer := make(chan error)
		go func() { answer <- l.Append(t.Context(), event(5)) }()
		<-m.waiting
		m.mu.Lock()
		m.fail = only("sync", broken)
		m.mu.Unlock()
		if first == "word" { // while a write is under way
			if err := l.Confront(ahead.Published().Note); !errors.Is(err, ErrDisowned) {
				t.Errorf("%s: %v", first, err)
			}
		}
		close(m.hold)
		if err := <-answer; !errors.Is(err, broken) {
			t.Errorf("%s: %v", first, err)
		}
		<-l.ended
		if first == "disk" {
			if err := l.Confront(ahead.Published().Note); !errors.Is(err, ErrDisowned) {
				t.Errorf("%s: %v", first, err)
			}
		}
		if err := stop(); !errors.Is(err, broken) {
			t.Errorf("%s: run ended with %v", first, err)
		}
		if err := l.Append(t.Context(), event(6)); !errors.Is(err, ErrDisowned) || !errors.Is(err, ErrFailed) {
			t.Errorf("%s, afterwards: %v", first, err)
		}
	}
}

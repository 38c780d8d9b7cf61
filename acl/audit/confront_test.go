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

// The word comes while a write is under way that a checkpoint is to follow, or while that
// checkpoint is on its way to the disk: it is not signed, or is shown to nobody. The log
// runs on, as it does where nothing was under way, and no new segment begins.
func TestALogThatIsDisownedWhileItWritesSignsNoFurtherCheckpoint(t *testing.T) {
	ahead := filled(t, 30)
	for _, when := range []string{"writing", "a checkpoint on its way", "beginning a segment"} {
		m := newMemory()
		l := m.log(t)
		stop := run(t, l)
		add(t, l, 0, 5)
		if _, err := l.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		disown := func() {
			if err := l.Confront(ahead.Published().Note); !errors.Is(err, ErrDisowned) {
				t.Errorf("%s: %v", when, err)
			}
		}
		write := &request{leaves: [][]byte{event(5)}, done: make(chan struct{})}
		wish := &request{done: make(chan struct{})}
		signed, note := l.Published().N, m.content(checkpointName)
		l.turn.Lock() // both come in one turn
		for _, r := range []*request{write, wish} {
			if err := l.enqueue(r); err != nil {
				t.Fatal(err)
			}
		}
		switch when {
		case "writing":
			m.hold, m.waiting = make(chan struct{}), make(chan struct{}, 4)
			go func() {
				<-m.waiting
				disown()
				close(m.hold)
			}()
		case "a checkpoint on its way":
			m.fail = func(op, name string) error {
				if op == "replace" && name == checkpointName {
					disown()
				}
				return nil
			}
		case "beginning a segment":
			first := &request{leaves: [][]byte{event(4)}, done: make(chan struct{})}
			now := l.durable
			if err := l.write([]*request{first}, &now); err != nil { // so that a checkpoint is due
				t.Fatal(err)
			}
			l.advance(now)
			l.segment = 1
			m.fail = func(op, name string) error {
				if op == "replace" && name == checkpointName { // comes before the segment and the write
					disown()
				}
				return nil
			}
		}
		_, err := l.commit(false)
		l.turn.Unlock()
		if err != nil {
			t.Errorf("%s: the log is at its end: %v", when, err)
		}
		for _, r := range []*request{write, wish} {
			<-r.done
		}
		if !errors.Is(wish.err, ErrDisowned) || (write.err == nil) == (when == "beginning a segment") {
			t.Errorf("%s: the wish ended with %v, the write with %v", when, wish.err, write.err)
		}
		if l.Published().N != signed || len(l.segs) != 1 {
			t.Errorf("%s: %d records are signed, %d before; segments %v", when, l.Published().N, signed, l.segs)
		}
		if when == "writing" && m.content(checkpointName) != note {
			t.Errorf("%s: the disk has another checkpoint", when)
		}
		if err := stop(); errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// content is what a file holds.
func (m *memory) content(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.files[name].data)
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

package daemon

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/ipfs/go-cid"
)

// TestAClockADayOff: who asks with a clock that is a day off is told so, and what to do,
// in the place of a bare denial; where a validator's clock is off the others are enough.
// The control: with the right clock the same request is answered.
func TestAClockADayOff(t *testing.T) {
	t.Parallel()
	m := found(t, 2)
	owner, reader := m.nodes[0], m.nodes[1]
	var readers, validators atomic.Int64 // nanoseconds that a clock is off; calls that lost still read it
	reader.quorum.Now = func() time.Time { return m.now().Add(time.Duration(readers.Load())) }
	m.validators[0].judge.Now = func() time.Time { return m.now().Add(time.Duration(validators.Load())) }
	m.refresh()
	for _, n := range m.nodes {
		listens(t, n)
		n.tracker.Round(t.Context())
	}
	const content = "read at the right time"
	added, err := owner.AddStream(t.Context(), api.AddRequest{Name: "x"}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	address, err := cid.Parse(added.Address)
	if err != nil {
		t.Fatal(err)
	}
	chainFor(t, m, address, "read")
	reads := func() (string, error) {
		var out bytes.Buffer
		_, err := reader.GetStream(t.Context(), api.GetRequest{Address: added.Address}, &out)
		return out.String(), err
	}
	for _, by := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		readers.Store(int64(by))
		got, err := reads()
		f := fault.Of(err)
		if got != "" || f.Exit != fault.Denied || !strings.Contains(f.Message, "this machine's clock") || !strings.Contains(f.Hint, "set this machine's clock") {
			t.Errorf("%s: %q, %v (%s)", by, got, f, f.Hint)
		}
		readers.Store(0)

		validators.Store(int64(by))
		if got, err := reads(); err != nil || got != content {
			t.Errorf("one validator, %s: %q, %v", by, got, err)
		}
		validators.Store(0)
	}
	if got, err := reads(); err != nil || got != content {
		t.Errorf("control: %q, %v", got, err)
	}
}

package object

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
)

// TestAnAddThatFailsLeavesNothing behind, neither a file that breaks off nor a stream.
// The control: one that succeeds leaves its blocks.
func TestAnAddThatFailsLeavesNothing(t *testing.T) {
	x := newLab(t)
	blocks := func() int {
		n, err := x.Store.CheckAll(t.Context(), func(c cid.Cid, err error) { t.Error(c, err) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := blocks()
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 5<<20)), iotest.ErrReader(errors.New("the line broke")))
	if _, err := x.AddStream(t.Context(), x.owner, "broken", broken, Labels{}); err == nil {
		t.Fatal("it was added")
	}
	if n := blocks(); n != before {
		t.Errorf("%d blocks, %d before", n, before)
	}
	if _, err := x.AddStream(t.Context(), x.owner, "whole", strings.NewReader(strings.Repeat("x", 5<<20)), Labels{}); err != nil {
		t.Fatal(err)
	}
	if n := blocks(); n <= before {
		t.Errorf("%d blocks, %d before: the test sees nothing", n, before)
	}
}

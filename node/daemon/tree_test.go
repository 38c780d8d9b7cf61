package daemon

import (
	"context"
	"errors"
	"testing"

	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/p2p/exchange"
)

// An index whose owner lies about a file's size, which was a panic once, is an error.
// The control is a file that is as long as the index says.
func TestAFileThatIsLongerThanItSays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := &batch{entries: []object.Entry{{Path: "file", Size: 100}}, arrived: make([]bool, 1)}
	for _, blk := range []exchange.Block{{Kind: exchange.Manifest}, {Kind: exchange.FileRoot}, {Kind: exchange.Header}, {Kind: exchange.Interior}, {Kind: exchange.Leaf, Data: make([]byte, 16)}} {
		if err := b.take(ctx, 0, blk); err != nil {
			t.Fatalf("%s: %v", blk.Kind, err)
		}
	}
	b.arrived[0], b.small = true, nil // its last leaf, by the index, has come
	if err := b.take(ctx, 0, exchange.Block{Kind: exchange.Leaf, Data: make([]byte, 10)}); !errors.Is(err, object.ErrTree) {
		t.Errorf("one more leaf: %v", err)
	}
}

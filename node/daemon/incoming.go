package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/object"
	"cerebrum.dev/cerebrum/p2p/exchange"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

// gather fetches the payload of one object from its first byte that this home lacks
// on, from several holders at once where it is large: first those that depositors
// named, then those that the DHT knows.
func (r *reading) gather(ctx context.Context, address cid.Cid, from int64, damaged []error, sink func(exchange.Block) error) error {
	i, searched := 0, false
	g := exchange.Gather{Ask: r.askHolder, Next: func(ctx context.Context) (peer.ID, bool) {
		if i >= len(r.holders) && !searched {
			searched = true
			r.search(ctx, address)
		}
		if i >= len(r.holders) {
			return "", false
		}
		r.introduce(ctx, r.holders[i])
		i++
		return r.holders[i-1].ID, true
	}}
	brought, err := g.Fetch(ctx, address, from, sink)
	failures := damaged
	for _, b := range brought {
		if b.Bytes > 0 {
			r.from(b.Peer.String())
		}
		if b.Err != nil && ctx.Err() == nil {
			r.n.log.Warn("a holder did not give everything", "peer", b.Peer, "bytes", b.Bytes, "err", b.Err)
			failures = append(failures, b.Err)
		}
	}
	if errors.Is(err, exchange.ErrNoHolder) {
		return r.noHolder(address, failures)
	}
	return err
}

// readWhole reads an object in order.
func (r *reading) readWhole(ctx context.Context, address cid.Cid, to *target) error {
	in := &incoming{r: r, index: 0, address: address}
	in.consume = func(o *object.Opened, content io.Reader) error {
		if o.Details.Kind == object.KindDirectory {
			return r.readTree(ctx, o, content, to)
		}
		size, err := to.write(ctx, content, wanted(r.ask, o))
		r.got.Size, r.got.Name, r.got.Origin = size, o.Details.Name, originShown(o.Details.Origin)
		return err
	}
	take := func(b exchange.Block) error { return in.take(ctx, b) }
	whole := exchange.Item{Address: address.Bytes(), Whole: true}
	damaged, err := r.fetchHere(ctx, func() (*exchange.Request, func(exchange.Block) error) {
		return &exchange.Request{Items: []exchange.Item{whole}}, take
	})
	if err == nil && !in.complete() {
		err = r.gather(ctx, address, in.next, damaged, take)
	}
	if err != nil {
		return in.abort(err)
	}
	return in.finish()
}

// incoming is one object on its way in. Its blocks arrive on one goroutine, which
// decrypts them; consume takes the plaintext on another.
type incoming struct {
	r       *reading
	index   int // in the current keys
	address cid.Cid
	consume func(o *object.Opened, content io.Reader) error

	manifest []byte
	opened   *object.Opened
	next     int64 // payload bytes taken
	pipe     *plainPipe
	done     chan error // consume's result
}

func (in *incoming) complete() bool {
	return in.opened != nil && in.next == int64(in.opened.Manifest.Size)
}

func (in *incoming) take(ctx context.Context, b exchange.Block) (err error) {
	switch b.Kind {
	case exchange.Manifest:
		in.manifest = slices.Clone(b.Data)
	case exchange.Header:
		if in.opened != nil {
			return nil
		}
		in.opened, err = in.r.unlock(ctx, in.index, in.address, in.manifest, slices.Clone(b.Data))
		return err
	case exchange.Leaf:
		if b.Offset != in.next {
			return nil // came before, from another holder
		}
		if in.next == 0 {
			err = in.start(b.Data)
		} else {
			err = in.pipe.write(b.Offset, b.Data)
		}
		in.next += int64(len(b.Data))
	}
	return err
}

// start begins with the payload's nonce and runs consume beside the transfer
// until finish or abort.
func (in *incoming) start(nonce []byte) error {
	leaves, err := envelope.OpenLeaves(in.opened.Header, in.opened.Key, nonce, int64(in.opened.Manifest.Size))
	if err != nil {
		return err
	}
	pipe, done := newPlainPipe(), make(chan error, 1)
	pipe.opened, in.pipe, in.done = leaves, pipe, done
	go func() {
		err := in.consume(in.opened, pipe)
		close(pipe.gone)
		done <- err
	}()
	return nil
}

// finish ends the payload and waits for consume.
func (in *incoming) finish() error {
	if in.pipe == nil || !in.complete() {
		return fmt.Errorf("the object %s did not arrive", in.address)
	}
	return in.stop(io.EOF)
}

// abort makes consume fail and waits for it; after finish it does nothing.
func (in *incoming) abort(err error) error {
	if in.pipe == nil {
		return err
	}
	if cerr := in.stop(err); !errors.Is(cerr, err) && cerr != nil {
		return cerr // consume failed first, and this is why
	}
	return err
}

func (in *incoming) stop(why error) error {
	in.pipe.end(why)
	in.pipe = nil
	return <-in.done
}

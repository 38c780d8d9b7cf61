package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/object"
	"github.com/ipfs/go-cid"
)

// Get implements api.Service.
func (n *Node) Get(ctx context.Context, r api.GetRequest) (*api.Got, error) {
	return n.get(ctx, r, &target{path: r.Into})
}

// GetStream implements api.Service.
func (n *Node) GetStream(ctx context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
	return n.get(ctx, r, &target{w: w})
}

// target is where plaintext goes: a stream, or a file that exists, or, for a
// directory, a folder beside that file.
type target struct {
	w    io.Writer
	path string
}

// FolderSuffix names the folder beside the file that the caller made, in which a
// directory is restored.
const FolderSuffix = ".tree"

// pour writes content to w: by itself where it can, otherwise through a buffer.
func pour(w io.Writer, content io.Reader) (int64, error) {
	if c, ok := content.(io.WriterTo); ok {
		return c.WriteTo(w)
	}
	return io.CopyBuffer(struct{ io.Writer }{w}, content, make([]byte, copyBuffer))
}

// copyBuffer is for content that does not write itself: small, because decrypted
// chunks are, and an object of a few bytes should not cost a megabyte.
const copyBuffer = 128 << 10

// write copies content to the target; a file is on disk when it returns.
func (t *target) write(ctx context.Context, content io.Reader, total int64) (int64, error) {
	progress := object.ProgressOf(ctx)
	progress.Total.Store(total)
	if t.w != nil {
		return pour(progress.CountWriter(t.w), content)
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return 0, fault.Wrap(fault.Failed, err, "use -o - to have the command write it", "the node cannot write the output")
	}
	defer f.Close()
	size, err := copyFile(f, content, progress)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return size, err
}

func (n *Node) get(ctx context.Context, r api.GetRequest, to *target) (*api.Got, error) {
	began := time.Now()
	ctx, done := n.operation(ctx, r.Op)
	defer done()
	address, err := parseAddress(r.Address)
	if err != nil {
		return nil, err
	}
	p, err := n.principal(r.As)
	if err != nil {
		return nil, err
	}
	got := &api.Got{Address: address.String(), From: []string{}, Releases: []int{}}
	h, err := n.findOwn(ctx, address, r)
	if err != nil {
		return nil, err
	}
	if h != nil {
		got.Address = h.CID.String()
		if err = n.getOwn(ctx, p, h, r, to, got); err == nil {
			err = n.record(ctx, event.Get, event.OK, event.Act{Actor: p.Identity.ID(), Object: h.CID.Bytes(), Purpose: r.Purpose, Detail: "its own"})
		}
		got.Seconds = time.Since(began).Seconds()
		return got, integrity(err)
	}
	if err := mayAct(p); err != nil { // not with a key that it was let keep either
		return nil, err
	}
	if n.trust != nil && !n.running.Load() && !r.Latest { // which is the newest, only the network knows
		if h, err := n.library.Find(ctx, address); err == nil {
			if done, err := n.getKept(ctx, p, h, r, to, got); done {
				return n.gotKept(ctx, p, address, got, began, err)
			}
		}
	}
	if err := n.needsNetwork(); err != nil {
		return nil, err
	}
	err = n.withAuthority(ctx, p, address, func(v *capability.Verified) error {
		read := address
		if r.Latest {
			var err error
			if read, err = n.newestGranted(ctx, p, v, address); err != nil {
				return err
			}
			got.Address = read.String()
		}
		return n.getGranted(ctx, &reading{n: n, p: p, v: v, ask: r, got: got}, read, to)
	})
	if err != nil {
		f := fault.Of(err)
		if f.Exit == fault.Denied {
			if err := n.record(ctx, event.Get, event.Denied, event.Act{Actor: p.Identity.ID(), Object: address.Bytes(), Rule: ruleOf(f), Purpose: r.Purpose, Reason: f.Message}); err != nil {
				return nil, err
			}
		}
		return nil, integrity(err)
	}
	read, err := cid.Decode(got.Address)
	if err != nil {
		return nil, err
	}
	if err := n.record(ctx, event.Get, event.OK, event.Act{Actor: p.Identity.ID(), Object: read.Bytes(), Purpose: r.Purpose}); err != nil {
		return nil, err
	}
	got.Seconds = time.Since(began).Seconds()
	return got, nil
}

// findOwn finds the object of this home that is to be read: nil where it is
// another's.
func (n *Node) findOwn(ctx context.Context, address cid.Cid, r api.GetRequest) (*object.Held, error) {
	h, err := n.library.Find(ctx, address)
	switch {
	case err != nil && fault.Of(err).Exit == fault.NotFound, err == nil && !h.Owned:
		return nil, nil
	case err != nil:
		return nil, err
	}
	owner := n.principalOf(h.Manifest.Claims().Owner)
	if !r.Latest || owner == nil {
		return h, nil
	}
	newest, err := n.newestOwn(ctx, owner, h)
	if err != nil || newest == address {
		return h, err
	}
	if h, err = n.library.Find(ctx, newest); err != nil && fault.Of(err).Exit == fault.NotFound {
		return nil, fault.New(fault.NotFound, "get it where it was made, or grant it to yourself there", "the newest version is %s, and it is not in this home", newest)
	}
	return h, err
}

// gotKept records a read without the network.
func (n *Node) gotKept(ctx context.Context, p *home.Principal, address cid.Cid, got *api.Got, began time.Time, err error) (*api.Got, error) {
	if err != nil {
		return nil, integrity(err)
	}
	got.Seconds = time.Since(began).Seconds()
	return got, n.record(ctx, event.Get, event.OK, event.Act{Actor: p.Identity.ID(), Object: address.Bytes(), Detail: "offline"})
}

// getOwn reads an object of this home with the owner's wrap. Another identity of
// the same home is not its owner.
func (n *Node) getOwn(ctx context.Context, p *home.Principal, h *object.Held, r api.GetRequest, to *target, got *api.Got) error {
	if h.Manifest.Claims().Owner != p.Identity.ID() && r.As != "" {
		return fault.New(fault.Denied, "leave --as out, or ask the owner for a grant", "the identity %s does not own it", r.As)
	}
	o, err := n.library.Open(ctx, h)
	if err != nil {
		return err
	}
	got.From = append(got.From, "local")
	var content io.Reader
	switch {
	case o.Details.Kind == object.KindDirectory && r.Ranged:
		return rangeOfDirectory()
	case o.Details.Kind == object.KindDirectory:
		return n.restoreOwn(ctx, o, to, got)
	case r.Ranged:
		content, err = n.library.ReadRange(ctx, o, object.Range{First: r.First, Last: r.Last})
	default:
		content, err = n.library.Read(ctx, o)
	}
	if err != nil {
		return err
	}
	got.Name, got.Origin = o.Details.Name, originShown(o.Details.Origin)
	got.Size, err = to.write(ctx, content, wanted(r, o))
	return err
}

func rangeOfDirectory() error {
	return fault.New(fault.Usage, "get the directory without --range", "a range of a directory is nothing")
}

// wanted is how many plaintext bytes a read will bring.
func wanted(r api.GetRequest, o *object.Opened) int64 {
	size := int64(o.Details.Plain)
	if r.Ranged {
		return min(r.Last, size-1) - r.First + 1
	}
	return size
}

// getGranted reads an object under a chain, from validators and holders.
func (n *Node) getGranted(ctx context.Context, rd *reading, address cid.Cid, to *target) error {
	// Validators only say "denied"; whoever holds the grant may know what it asks.
	if rd.v.AllowsPurpose(rd.ask.Purpose) != nil {
		return fault.New(fault.Denied, "state one of them with --purpose", "the grant for %s is for the purposes %s",
			address, strings.Join(rd.v.Grant().Caveats.Purposes, ", ")).Because(errPurpose)
	}
	if err := rd.release(ctx, [][]byte{address.Bytes()}); err != nil {
		if err := rd.offline(address, err); err != nil {
			return err
		}
	}
	if rd.ask.Ranged {
		return rd.readRange(ctx, address, to)
	}
	return rd.readWhole(ctx, address, to)
}

// integrity gives what was tampered with its exit code.
func integrity(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	for _, bad := range integrityErrors {
		if errors.Is(err, bad) {
			return fault.Wrap(fault.Integrity, err, "nothing of it was kept; try another holder or tell its owner", "the object does not verify")
		}
	}
	return err
}

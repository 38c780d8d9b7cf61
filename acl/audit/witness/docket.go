package witness

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// maxDocket is how many logs evidence is kept against.
const maxDocket = 4096

// Docket keeps evidence in a folder, for ever: a file a log, named after the peer
// whose log it is. The first evidence against a log is kept and suffices. It is safe
// for concurrent use; one docket has a folder open.
type Docket struct {
	dir string

	mu      sync.Mutex // guards what follows
	kept    map[statement.PublicKey]*Evidence
	damaged []string
	changed chan struct{}
}

const (
	docketPrefix = "fork-" // and the peer key in hexadecimal
	docketSuffix = ".cbor"
)

// OpenDocket reads and verifies the evidence in a folder, which it makes where there
// is none. A file that is damaged stays as it is and counts for nothing.
func OpenDocket(dir string) (*Docket, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := disk.SyncFolder(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := &Docket{dir: dir, kept: map[statement.PublicKey]*Evidence{}, changed: make(chan struct{})}
	for _, f := range entries {
		name, ok := strings.CutPrefix(f.Name(), docketPrefix)
		if !ok || !strings.HasSuffix(name, docketSuffix) {
			continue
		}
		e, err := d.read(f)
		if err != nil {
			d.damaged = append(d.damaged, filepath.Join(dir, f.Name()))
			continue
		}
		d.kept[e.Binding.Peer] = e
	}
	return d, nil
}

func (d *Docket) read(f fs.DirEntry) (*Evidence, error) {
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxEvidence {
		return nil, ErrEvidence
	}
	raw, err := os.ReadFile(filepath.Join(d.dir, f.Name()))
	if err != nil {
		return nil, err
	}
	e, err := ParseEvidence(raw)
	if err == nil && d.path(e) != filepath.Join(d.dir, f.Name()) {
		err = ErrEvidence
	}
	return e, err
}

func (d *Docket) path(e *Evidence) string {
	return filepath.Join(d.dir, docketPrefix+hex.EncodeToString(e.Binding.Peer[:])+docketSuffix)
}

// errDocket reports a full docket.
var errDocket = errors.New("evidence against too many logs is kept already")

// Add keeps evidence, durably on return, and reports whether it is the first against
// its log. The caller has made sure that the log is one of a member, past or present:
// anybody can make evidence against keys of their own.
func (d *Docket) Add(e *Evidence) (isNew bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[e.Binding.Peer] != nil {
		return false, nil
	}
	if len(d.kept) >= maxDocket {
		return false, errDocket
	}
	if err := disk.Replace(d.path(e), e.raw); err != nil {
		return false, fmt.Errorf("the evidence cannot be kept: %w", err)
	}
	d.kept[e.Binding.Peer] = e
	d.damaged = slices.DeleteFunc(d.damaged, func(p string) bool { return p == d.path(e) })
	close(d.changed)
	d.changed = make(chan struct{})
	return true, nil
}

// Against is the evidence against the log of a peer; nil where there is none.
func (d *Docket) Against(peer statement.PublicKey) *Evidence {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept[peer]
}

// All is the evidence in the order of the peers' keys.
func (d *Docket) All() []*Evidence {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*Evidence, 0, len(d.kept))
	for _, e := range d.kept {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *Evidence) int { return slices.Compare(a.Binding.Peer[:], b.Binding.Peer[:]) })
	return out
}

// After is a page of the evidence against peers whose keys come after one, in
// order, at most so many bytes once it is encoded as a list.
func (d *Docket) After(peer statement.PublicKey, most int) (page [][]byte) {
	for _, e := range d.All() {
		if slices.Compare(e.Binding.Peer[:], peer[:]) <= 0 {
			continue
		}
		if most -= listHead + len(e.raw); most < 0 {
			break
		}
		page = append(page, e.raw)
	}
	return page
}

// Damaged are the files of evidence that do not verify any more.
func (d *Docket) Damaged() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.damaged)
}

// Changed is closed when there is more evidence than at the call.
func (d *Docket) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

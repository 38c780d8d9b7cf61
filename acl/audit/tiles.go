package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"
)

// ExportTiles writes the log as a C2SP tlog-tiles directory: checkpoint, hash
// tiles and entry bundles, for a checkpoint of this log, such as [Log.Cosigned] or
// the one that [Log.Checkpoint] makes, and beside them whose log it is and the committee
// records of its network. dir must not exist; it appears whole or not at all, after a
// power cut too, and is durable on return. Every record is verified on the way.
//
// The directory proves what its checkpoint proves, to any C2SP client that is given
// the verifier key of [Binding.Key].
func (l *Log) ExportTiles(dir string, c Checkpoint, network [][]byte) error {
	return l.exportTiles(dir, c, network, flusher{disk.SyncFile, disk.SyncFolder})
}

// flusher makes the content of a file, or the names in a folder, durable.
type flusher struct{ file, folder func(path string) error }

func (l *Log) exportTiles(dir string, c Checkpoint, network [][]byte, flush flusher) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w: name a folder that is not there yet", dir, fs.ErrExist)
	}
	if first := l.First(); first > 0 {
		return fmt.Errorf("%w: a folder of tiles begins with the first one, and this log with record %d; export a bundle", ErrPruned, first)
	}
	partial, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial) // nothing is there once it was renamed
	put := func(path string, data []byte) error {
		path = filepath.Join(partial, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	}
	w := tiler{put: put}
	if err := l.upTo(c, w.add); err != nil {
		return err
	}
	if err := w.rest(); err != nil {
		return err
	}
	if err := put(checkpointName, c.Note); err != nil {
		return err
	}
	about, err := l.about(c, network)
	if err != nil {
		return err
	}
	if err := put(AboutName, about); err != nil {
		return err
	}
	if err := flush.tree(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	if err := flush.folder(filepath.Dir(dir)); err != nil {
		return errors.Join(err, os.RemoveAll(dir)) // whoever is told that it failed finds nothing
	}
	return nil
}

// tree flushes all that is below a folder, and the folder. It comes after all was
// written, and does several at a time, so that the disk need not be waited for once for
// each of thousands of small files.
func (f flusher) tree(dir string) error {
	const atATime = 16
	var g errgroup.Group
	g.SetLimit(atATime)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		flush := f.file
		if d.IsDir() {
			flush = f.folder
		}
		g.Go(func() error { return flush(path) })
		return nil
	})
	return errors.Join(err, g.Wait())
}

// upTo hands out the records that a checkpoint covers, and verifies that it does.
func (l *Log) upTo(c Checkpoint, visit visitor) error {
	if _, err := l.binding.OpenCheckpoint(c.Note); err != nil {
		return err
	}
	if c.N > l.Published().N {
		return fmt.Errorf("a checkpoint of %d records: %w", c.N, ErrUnsigned)
	}
	if root, err := l.rootAt(c.N); err != nil {
		return err
	} else if root != c.Hash {
		return fmt.Errorf("%w: its root is not that of this log at %d records", ErrCheckpoint, c.N)
	}
	if first := l.First(); c.N < first {
		return fmt.Errorf("%w: of the %d before record %d nothing can be exported", ErrPruned, first, first)
	} else if c.N == first {
		return nil
	}
	err := l.scan(func(r record) error {
		if err := visit(r); err != nil {
			return err
		}
		if r.after.n < c.N {
			return nil
		}
		if r.after.root() != c.Hash {
			return tampered(r.after.place, "the records before it are not those that were written")
		}
		return errStop
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// tiler writes tiles as they become full. Tile n of level L holds the hashes of
// level 8L, of which a full one is made of the full tile below.
type tiler struct {
	put    func(path string, data []byte) error // takes a finished tile
	tiles  [8][]byte                            // by level
	counts [8]int64                             // hashes so far
	bundle []byte
	n      int64 // records so far
}

func (w *tiler) add(r record) (err error) {
	if w.bundle, err = torchwood.AppendTileEntry(w.bundle, r.leaf); err != nil {
		return err
	}
	w.n++
	for level := 0; level*torchwood.TileHeight < len(r.hashes); level++ {
		h := r.hashes[level*torchwood.TileHeight]
		w.tiles[level] = append(w.tiles[level], h[:]...)
		if w.counts[level]++; w.counts[level]%torchwood.TileWidth == 0 {
			if err := w.write(level, w.counts[level], w.tiles[level]); err != nil {
				return err
			}
			w.tiles[level] = w.tiles[level][:0]
		}
	}
	if w.n%torchwood.TileWidth == 0 {
		err = w.write(-1, w.n, w.bundle)
		w.bundle = w.bundle[:0]
	}
	return err
}

// rest writes the tiles of the right edge, which are not full.
func (w *tiler) rest() error {
	for level, tile := range w.tiles {
		if len(tile) > 0 {
			if err := w.write(level, w.counts[level], tile); err != nil {
				return err
			}
		}
	}
	if len(w.bundle) > 0 {
		return w.write(-1, w.n, w.bundle)
	}
	return nil
}

// write writes the tile that ends with the countth hash or entry of a level.
func (w *tiler) write(level int, count int64, data []byte) error {
	width := int(count % torchwood.TileWidth)
	if width == 0 {
		width = torchwood.TileWidth
	}
	tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: (count - 1) / torchwood.TileWidth, W: width}
	return w.put(torchwood.TilePath(tile), data)
}

package tabular

import "context"

// batchBytes is about how much text one batch holds.
const batchBytes = 256 << 10

// batch is rows on their way from the goroutine that parses to the one that looks.
type batch struct {
	text    []byte
	ends    []int // of each cell in text
	kinds   []Kind
	numbers []int // of each row
}

// feed carries batches. The parser owns current; batches that were looked at come back
// through free, so that there are never more than a few.
type feed struct {
	done       <-chan struct{}
	cause      func() error
	full, free chan *batch
	current    *batch
}

func newFeed(ctx context.Context) *feed {
	f := &feed{done: ctx.Done(), cause: ctx.Err, full: make(chan *batch, 2), free: make(chan *batch, 4)}
	for range cap(f.free) {
		f.free <- &batch{}
	}
	f.current = <-f.free
	return f
}

// cell adds a cell of text to the row.
func (f *feed) cell(text []byte) {
	f.current.text = append(f.current.text, text...)
	f.current.ends = append(f.current.ends, len(f.current.text))
}

// open returns the text of the row so far, to which the parser appends a cell that it
// closes with shut.
func (f *feed) open() []byte { return f.current.text }

func (f *feed) shut(text []byte) {
	f.current.text = text
	f.current.ends = append(f.current.ends, len(text))
}

// end ends a row.
func (f *feed) end(number int) error {
	f.current.numbers = append(f.current.numbers, number)
	if len(f.current.text) < batchBytes && len(f.current.numbers) < batchBytes/16 {
		return nil
	}
	return f.send()
}

func (f *feed) send() error {
	select {
	case f.full <- f.current:
	case <-f.done:
		return f.cause()
	}
	select {
	case f.current = <-f.free:
		return nil
	case <-f.done:
		return f.cause()
	}
}

func (f *feed) recycle(b *batch) {
	if cap(b.text) > 4*batchBytes { // held one long row
		b.text = nil
	}
	b.text, b.ends, b.numbers = b.text[:0], b.ends[:0], b.numbers[:0]
	if b.kinds != nil {
		b.kinds = b.kinds[:0]
	}
	f.free <- b
}

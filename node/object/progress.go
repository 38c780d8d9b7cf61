package object

import (
	"context"
	"io"
	"sync/atomic"
)

// Progress counts the plaintext bytes of one add or get. Total is 0 while it is
// not known.
type Progress struct{ Done, Total atomic.Int64 }

type progressKey struct{}

// WithProgress has the workflows below ctx count into p.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// ProgressOf is the counter of ctx, or one that nobody looks at.
func ProgressOf(ctx context.Context) *Progress {
	if p, ok := ctx.Value(progressKey{}).(*Progress); ok {
		return p
	}
	return new(Progress)
}

// Count makes a reader that counts what is read.
func (p *Progress) Count(r io.Reader) io.Reader { return &countingReader{r, p} }

type countingReader struct {
	r io.Reader
	p *Progress
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.Done.Add(int64(n))
	return n, err
}

// CountWriter makes a writer that counts what is written.
func (p *Progress) CountWriter(w io.Writer) io.Writer { return &countingWriter{w, p} }

type countingWriter struct {
	w io.Writer
	p *Progress
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.p.Done.Add(int64(n))
	return n, err
}

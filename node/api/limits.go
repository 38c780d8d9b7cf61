package api

import (
	"net/http"
	"time"

	"cerebrum.dev/cerebrum/node/fault"
)

// Limits bound what callers that are slow, or many, can hold. A zero field takes its
// default.
type Limits struct {
	// Read is how long a caller may take to send its request, the content of an add
	// aside. Default 10 s.
	Read time.Duration
	// Write is how long it may take to accept an answer, what a get streams aside.
	// Default 30 s.
	Write time.Duration
	// Streams is how many adds and gets that stream may be under way; more are refused.
	// They may stall as long as they like: somebody types, or reads in a pager.
	// Default 64.
	Streams int
}

// idleTime is how long a connection without a request is kept.
const idleTime = 2 * time.Minute

func (l Limits) withDefaults() Limits {
	if l.Read <= 0 {
		l.Read = 10 * time.Second
	}
	if l.Write <= 0 {
		l.Write = 30 * time.Second
	}
	if l.Streams <= 0 {
		l.Streams = 64
	}
	return l
}

// paced gives each request its time, and each write of its answer.
func (l Limits) paced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		c.SetReadDeadline(time.Now().Add(l.Read))
		c.SetWriteDeadline(time.Time{}) // that of the request before
		h.ServeHTTP(&pacedWriter{w, l.Write}, r)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	each time.Duration
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(p.each))
	return p.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func unpaced(w http.ResponseWriter) http.ResponseWriter {
	if p, ok := w.(*pacedWriter); ok {
		return p.ResponseWriter
	}
	return w
}

// decodeBody reads a request whole, in its time, and gives what follows all of it: the
// connection is read on, to notice that the caller has gone.
func decodeBody(w http.ResponseWriter, r *http.Request, q any) *fault.Error {
	if err := decode(http.MaxBytesReader(unpaced(w), r.Body, maxRequest), q); err != nil {
		return err
	}
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

// streaming lets so many requests be worked on as turns has room for.
func streaming(turns chan struct{}, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			h(w, r)
		default:
			refuse(w, fault.New(fault.Unavailable, "end some of them, or wait", "this node is already busy with %d streams of content", cap(turns)))
		}
	}
}

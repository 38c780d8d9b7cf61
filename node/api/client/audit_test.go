package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

func (s *spy) AuditPrune(_ context.Context, r api.AuditPruneRequest) (*api.AuditPruned, error) {
	s.note("AuditPrune", r.Checkpoint)
	return &api.AuditPruned{}, nil
}

func (s *spy) AuditExport(_ context.Context, r api.AuditExportRequest) (*api.AuditExported, error) {
	s.note("AuditExport", r.Into)
	return &api.AuditExported{}, nil
}

func (s *spy) AuditLog(_ context.Context, r api.AuditLogRequest, _ io.Writer) error {
	s.note("AuditLog", r.Object)
	return nil
}

func (s *spy) Receipts(_ context.Context, r api.ReceiptsRequest) (*api.ReceiptList, error) {
	s.note("Receipts", r.Object)
	return &api.ReceiptList{}, nil
}

func (s *spy) Receipt(_ context.Context, r api.ReceiptRequest) (*api.ReceiptFile, error) {
	s.note("Receipt", r.ID)
	return &api.ReceiptFile{}, nil
}

// logs is a service whose log a test writes.
type logs struct {
	api.Service
	write func(context.Context, api.AuditLogRequest, io.Writer) error
}

func (l *logs) AuditLog(ctx context.Context, r api.AuditLogRequest, w io.Writer) error {
	return l.write(ctx, r, w)
}

func TestALogThatBreaksOffIsAnError(t *testing.T) {
	broken := fault.New(fault.Integrity, "", "broken")
	for _, begun := range []string{"", "an entry\n"} {
		c := serve(t, &logs{write: func(_ context.Context, _ api.AuditLogRequest, w io.Writer) error {
			io.WriteString(w, begun)
			return broken
		}})
		var out bytes.Buffer
		if err := c.AuditLog(t.Context(), api.AuditLogRequest{}, &out); fault.Of(err).Exit != fault.Integrity || out.String() != begun {
			t.Errorf("%q: %v, %q", begun, err, out.String())
		}
	}
	c := serve(t, &logs{write: func(_ context.Context, _ api.AuditLogRequest, w io.Writer) error {
		io.WriteString(w, "an entry\n")
		return nil
	}})
	failing := errors.New("the pipe is broken")
	if err := c.AuditLog(t.Context(), api.AuditLogRequest{}, refusing{failing}); !errors.Is(err, failing) {
		t.Errorf("a writer that fails gives %v", err)
	}
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

// Whoever follows the log gets entries as they come, and does not keep the node from
// stopping.
func TestAFollowerIsFlushedToAndLetGo(t *testing.T) {
	first, followed := make(chan bool), make(chan error, 1)
	c := serve(t, &logs{write: func(ctx context.Context, _ api.AuditLogRequest, w io.Writer) error {
		io.WriteString(w, "an entry\n")
		<-ctx.Done()
		return nil
	}})
	go func() {
		followed <- c.AuditLog(t.Context(), api.AuditLogRequest{Follow: true}, told(first))
	}()
	<-first
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if err := <-followed; fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("a follower whose node stopped is told %v", err)
	}
	// A follower who has seen enough is done, and that is no error.
	c = serve(t, &logs{write: func(ctx context.Context, _ api.AuditLogRequest, w io.Writer) error {
		io.WriteString(w, "an entry\n")
		<-ctx.Done()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { followed <- c.AuditLog(ctx, api.AuditLogRequest{Follow: true}, told(first)) }()
	<-first
	cancel()
	if err := <-followed; err != nil {
		t.Errorf("a follower who was interrupted is told %v", err)
	}
}

// told says that something was written.
type told chan bool

func (t told) Write(p []byte) (int, error) {
	t <- true
	return len(p), nil
}

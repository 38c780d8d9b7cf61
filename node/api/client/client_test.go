package client_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// script is a service of which a test says what it does. A verb without a script
// fails the test.
type script struct {
	api.Service
	add       func(context.Context, api.AddRequest) (*api.Added, error)
	addStream func(context.Context, api.AddRequest, io.Reader) (*api.Added, error)
	getStream func(context.Context, api.GetRequest, io.Writer) (*api.Got, error)
	status    func(context.Context) (*api.Status, error)
	info      func(context.Context, api.InfoRequest) (*api.Info, error)
}

func (s *script) Add(ctx context.Context, r api.AddRequest) (*api.Added, error) { return s.add(ctx, r) }
func (s *script) AddStream(ctx context.Context, r api.AddRequest, content io.Reader) (*api.Added, error) {
	return s.addStream(ctx, r, content)
}
func (s *script) GetStream(ctx context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
	return s.getStream(ctx, r, w)
}
func (s *script) Status(ctx context.Context) (*api.Status, error) { return s.status(ctx) }
func (s *script) Info(ctx context.Context, r api.InfoRequest) (*api.Info, error) {
	return s.info(ctx, r)
}

// served is a server on a real socket.
type served struct {
	*client.Client
	dir  string
	stop func() error // stops the server and returns what Run returned
}

// shortDir is a folder whose socket has a path that every system takes.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func serve(t *testing.T, s api.Service) *served {
	t.Helper()
	out := &served{dir: shortDir(t)}
	l, err := api.Listen(filepath.Join(out.dir, home.Socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- api.NewServer(s, slog.New(slog.DiscardHandler)).Run(ctx, l) }()
	out.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { out.stop() })
	if out.Client = client.Dial(t.Context(), out.dir); out.Client == nil {
		t.Fatal("nobody answers")
	}
	t.Cleanup(out.Close)
	return out
}

func TestFaultsArriveWhole(t *testing.T) {
	var give error
	c := serve(t, &script{info: func(context.Context, api.InfoRequest) (*api.Info, error) { return nil, give }})
	for exit := fault.Failed; exit <= fault.Integrity; exit++ {
		give = fault.Wrap(exit, errors.New("cause"), "do that", "thing %d", exit)
		_, err := c.Info(t.Context(), api.InfoRequest{})
		var f *fault.Error
		if !errors.As(err, &f) || f.Exit != exit || f.Message != give.Error() || f.Hint != "do that" {
			t.Errorf("exit %d arrives as %#v", exit, err)
		}
	}
	give = errors.New("plain")
	if _, err := c.Info(t.Context(), api.InfoRequest{}); fault.Of(err).Exit != fault.Failed || err.Error() != "plain" {
		t.Errorf("%v", err)
	}
	give = context.DeadlineExceeded
	if _, err := c.Info(t.Context(), api.InfoRequest{}); fault.Of(err).Exit != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

// Every verb of the client reaches the method of its name, with its request.
func TestEveryVerbHasItsRoute(t *testing.T) {
	spy := &spy{}
	c := serve(t, spy)
	v := reflect.ValueOf(api.Service(c.Client))
	kind := reflect.TypeFor[api.Service]()
	for i := range kind.NumMethod() {
		m := kind.Method(i)
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < m.Type.NumIn(); j++ {
			switch in := m.Type.In(j); in.Kind() {
			case reflect.Interface:
				args = append(args, reflect.ValueOf(new(bytes.Buffer)))
			default:
				q := reflect.New(in).Elem()
				if word := wordOf(q); word.Kind() == reflect.Bool {
					word.SetBool(true)
				} else {
					word.SetString(m.Name)
				}
				args = append(args, q)
			}
		}
		out := v.MethodByName(m.Name).Call(args)
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if spy.called != m.Name || !spy.told {
			t.Errorf("%s arrives at %s, its request %v", m.Name, spy.called, spy.told)
		}
	}
}

// wordOf is the field by which the spy recognises a request.
func wordOf(q reflect.Value) reflect.Value {
	for _, name := range []string{"As", "Address", "Contact", "Path", "Op", "ID", "Role", "Word", "Invitation", "Subject", "Into", "Object", "Checkpoint", "DryRun"} {
		if f := q.FieldByName(name); f.IsValid() {
			return f
		}
	}
	panic("a request without a word: " + q.Type().String())
}

// spy notes which method is called and whether the request says the same.
type spy struct {
	called string
	told   bool
}

func (s *spy) note(name, told string) { s.called, s.told = name, name == told }

func (s *spy) Status(context.Context) (*api.Status, error) {
	s.note("Status", "Status")
	return &api.Status{}, nil
}
func (s *spy) Peers(context.Context) (*api.Peers, error) {
	s.note("Peers", "Peers")
	return &api.Peers{}, nil
}
func (s *spy) Usage(context.Context) (*api.Usage, error) {
	s.note("Usage", "Usage")
	return &api.Usage{}, nil
}
func (s *spy) Add(_ context.Context, r api.AddRequest) (*api.Added, error) {
	s.note("Add", r.As)
	return &api.Added{}, nil
}
func (s *spy) AddStream(_ context.Context, r api.AddRequest, _ io.Reader) (*api.Added, error) {
	s.note("AddStream", r.As)
	return &api.Added{}, nil
}
func (s *spy) Get(_ context.Context, r api.GetRequest) (*api.Got, error) {
	s.note("Get", r.As)
	return &api.Got{}, nil
}
func (s *spy) GetStream(_ context.Context, r api.GetRequest, _ io.Writer) (*api.Got, error) {
	s.note("GetStream", r.As)
	return &api.Got{}, nil
}
func (s *spy) Rekey(_ context.Context, r api.RekeyRequest) (*api.Rekeyed, error) {
	s.note("Rekey", r.Address)
	return &api.Rekeyed{}, nil
}
func (s *spy) Progress(_ context.Context, r api.ProgressRequest) (*api.Progress, error) {
	s.note("Progress", r.Op)
	return &api.Progress{}, nil
}
func (s *spy) List(context.Context) (*api.Objects, error) {
	s.note("List", "List")
	return &api.Objects{}, nil
}
func (s *spy) Info(_ context.Context, r api.InfoRequest) (*api.Info, error) {
	s.note("Info", r.Address)
	return &api.Info{}, nil
}
func (s *spy) Verify(_ context.Context, r api.VerifyRequest) (*api.Verified, error) {
	s.note("Verify", r.Address)
	return &api.Verified{}, nil
}
func (s *spy) Export(_ context.Context, r api.ExportRequest) (*api.Exported, error) {
	s.note("Export", r.Address)
	return &api.Exported{}, nil
}
func (s *spy) Import(_ context.Context, r api.ImportRequest) (*api.Imported, error) {
	s.note("Import", r.Path)
	return &api.Imported{}, nil
}
func (s *spy) Grant(_ context.Context, r api.GrantRequest) (*api.Granted, error) {
	s.note("Grant", r.As)
	return &api.Granted{}, nil
}
func (s *spy) Delegate(_ context.Context, r api.GrantRequest) (*api.Granted, error) {
	s.note("Delegate", r.As)
	return &api.Granted{}, nil
}
func (s *spy) Accept(_ context.Context, r api.AcceptRequest) (*api.Granted, error) {
	s.note("Accept", r.As)
	return &api.Granted{}, nil
}
func (s *spy) Grants(_ context.Context, r api.GrantsRequest) (*api.Grants, error) {
	s.note("Grants", r.As)
	return &api.Grants{}, nil
}
func (s *spy) Network(context.Context) (*api.NetworkFile, error) {
	s.note("Network", "Network")
	return &api.NetworkFile{File: "file"}, nil
}

func (s *spy) Adopt(_ context.Context, r api.AdoptRequest) (*api.Adopted, error) {
	s.note("Adopt", r.Path)
	return &api.Adopted{}, nil
}

func (s *spy) Permit(_ context.Context, r api.PermitRequest) (*api.Permitted, error) {
	s.note("Permit", r.ID)
	return &api.Permitted{}, nil
}

func (s *spy) GrantShow(_ context.Context, r api.GrantShowRequest) (*api.GrantsShown, error) {
	s.note("GrantShow", r.As)
	return &api.GrantsShown{}, nil
}
func (s *spy) Revoke(_ context.Context, r api.RevokeRequest) (*api.Revoked, error) {
	s.note("Revoke", r.As)
	return &api.Revoked{}, nil
}
func (s *spy) Enrol(_ context.Context, r api.EnrolRequest) (*api.Enrolled, error) {
	s.note("Enrol", r.Contact)
	return &api.Enrolled{}, nil
}
func (s *spy) AdoptIdentity(_ context.Context, r api.AdoptIdentityRequest) (*api.Published, error) {
	s.note("AdoptIdentity", r.Contact)
	return &api.Published{}, nil
}
func (s *spy) Devices(_ context.Context, r api.DevicesRequest) (*api.Devices, error) {
	s.note("Devices", r.As)
	return &api.Devices{}, nil
}
func (s *spy) AddDevice(_ context.Context, r api.AddDeviceRequest) (*api.Published, error) {
	s.note("AddDevice", r.As)
	return &api.Published{}, nil
}
func (s *spy) RemoveDevice(_ context.Context, r api.RemoveDeviceRequest) (*api.Published, error) {
	s.note("RemoveDevice", r.As)
	return &api.Published{}, nil
}
func (s *spy) Recover(_ context.Context, r api.RecoverRequest) (*api.Published, error) {
	s.note("Recover", r.Contact)
	return &api.Published{}, nil
}

func (s *spy) Erase(_ context.Context, r api.EraseRequest) (*api.Erased, error) {
	s.note("Erase", r.Address)
	return &api.Erased{}, nil
}
func (s *spy) Retain(_ context.Context, r api.RetainRequest) (*api.Retained, error) {
	s.note("Retain", r.Address)
	return &api.Retained{}, nil
}
func (s *spy) Hold(_ context.Context, r api.HoldRequest) (*api.Held, error) {
	s.note("Hold", r.As)
	return &api.Held{}, nil
}
func (s *spy) Unhold(_ context.Context, r api.UnholdRequest) (*api.Held, error) {
	s.note("Unhold", r.As)
	return &api.Held{}, nil
}
func (s *spy) Holds(context.Context) (*api.Holds, error) {
	s.note("Holds", "Holds")
	return &api.Holds{}, nil
}

func (s *spy) SubjectExport(_ context.Context, r api.SubjectExportRequest) (*api.SubjectExported, error) {
	s.note("SubjectExport", r.Subject)
	return &api.SubjectExported{}, nil
}
func (s *spy) SubjectForget(_ context.Context, r api.SubjectForgetRequest) (*api.SubjectForgotten, error) {
	s.note("SubjectForget", r.Subject)
	return &api.SubjectForgotten{}, nil
}
func (s *spy) AccessReview(_ context.Context, r api.AccessReviewRequest) (*api.AccessReview, error) {
	s.note("AccessReview", r.As)
	return &api.AccessReview{}, nil
}
func (s *spy) ProcessingRecords(context.Context) (*api.ProcessingRecords, error) {
	s.note("ProcessingRecords", "ProcessingRecords")
	return &api.ProcessingRecords{}, nil
}

func TestStreams(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	c := serve(t, &script{
		addStream: func(_ context.Context, r api.AddRequest, in io.Reader) (*api.Added, error) {
			got, err := io.ReadAll(in)
			if err != nil || !bytes.Equal(got, content) {
				return nil, fault.New(fault.Integrity, "", "%d bytes, %v", len(got), err)
			}
			return &api.Added{Address: r.Name + r.Labels["k"], Size: int64(len(got))}, nil
		},
		getStream: func(_ context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
			n, err := w.Write(content[:r.Last])
			return &api.Got{Address: r.Address, Size: int64(n)}, err
		},
	})
	a, err := c.AddStream(t.Context(), api.AddRequest{Name: "n", Labels: map[string]string{"k": "v"}}, bytes.NewReader(content))
	if err != nil || a.Address != "nv" || a.Size != int64(len(content)) {
		t.Errorf("%+v, %v", a, err)
	}
	for _, size := range []int{0, 1, len(content)} {
		var out bytes.Buffer
		got, err := c.GetStream(t.Context(), api.GetRequest{Address: "a", Last: int64(size)}, &out)
		if err != nil || got.Size != int64(size) || !bytes.Equal(out.Bytes(), content[:size]) {
			t.Errorf("%d bytes: %+v, %v, %d arrived", size, got, err, out.Len())
		}
	}
}

// A stream that goes wrong after its first byte has a status of 200 already. The
// client must not take what came for the whole.
func TestErrorAfterTheFirstByte(t *testing.T) {
	give := error(fault.New(fault.Integrity, "hint", "block 7 is corrupt"))
	c := serve(t, &script{getStream: func(_ context.Context, _ api.GetRequest, w io.Writer) (*api.Got, error) {
		io.WriteString(w, "half")
		return &api.Got{Size: 4}, give
	}})
	var out bytes.Buffer
	_, err := c.GetStream(t.Context(), api.GetRequest{}, &out)
	if f := fault.Of(err); err == nil || f.Exit != fault.Integrity || f.Message != "block 7 is corrupt" || f.Hint != "hint" {
		t.Errorf("%v after %q", err, out.String())
	}
	give = nil // the control: the same bytes without the error are a whole
	if got, err := c.GetStream(t.Context(), api.GetRequest{}, io.Discard); err != nil || got.Size != 4 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestErrorBeforeTheFirstByte(t *testing.T) {
	c := serve(t, &script{getStream: func(context.Context, api.GetRequest, io.Writer) (*api.Got, error) {
		return &api.Got{}, fault.New(fault.Denied, "", "no")
	}})
	var out bytes.Buffer
	_, err := c.GetStream(t.Context(), api.GetRequest{}, &out)
	if err == nil || fault.Of(err).Exit != fault.Denied || out.Len() != 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}

// A node that is killed ends its answer without a trailer, or without the last
// chunk.
func TestTruncatedStreams(t *testing.T) {
	for name, answer := range map[string]string{
		"no last chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Cerebrum-Result\r\n\r\n4\r\nhalf\r\n",
		"within a chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Cerebrum-Result\r\n\r\nff\r\nhalf",
		"no trailer":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
		"with a length":    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf",
		"empty trailer":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Cerebrum-Result\r\n\r\n0\r\nCerebrum-Result: \r\n\r\n",
		"no result inside": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Cerebrum-Result\r\n\r\n0\r\nCerebrum-Result: e30=\r\n\r\n",
		"nothing":          "",
		"no HTTP":          "hello\r\n\r\n",
		"another server":   "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nhi",
	} {
		c := client.Dial(t.Context(), answerWith(t, answer))
		if c == nil {
			t.Fatal("nobody answers")
		}
		if got, err := c.GetStream(t.Context(), api.GetRequest{}, io.Discard); err == nil {
			t.Errorf("%s: taken for a whole: %+v", name, got)
		} else if f := fault.Of(err); f.Exit == fault.OK || f.Message == "" {
			t.Errorf("%s: %#v", name, f)
		}
		c.Close()
	}
}

// answerWith is a socket on which each connection gets the same bytes and ends.
func answerWith(t *testing.T, answer string) string {
	t.Helper()
	dir := shortDir(t)
	l, err := net.Listen("unix", filepath.Join(dir, home.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				if n, _ := c.Read(buf); n > 0 {
					io.WriteString(c, answer)
				}
			}()
		}
	}()
	return dir
}

func TestOutputThatFails(t *testing.T) {
	c := serve(t, &script{getStream: func(_ context.Context, _ api.GetRequest, w io.Writer) (*api.Got, error) {
		w.Write(make([]byte, 1<<20))
		return &api.Got{}, nil
	}})
	full := errors.New("no space left")
	_, err := c.GetStream(t.Context(), api.GetRequest{}, failingWriter{full})
	if !errors.Is(err, full) || strings.Contains(err.Error(), "node went away") {
		t.Errorf("%v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// Content that ends with an error is not the content: the node must see it too.
func TestContentThatFails(t *testing.T) {
	seen := make(chan error, 1)
	c := serve(t, &script{addStream: func(_ context.Context, _ api.AddRequest, in io.Reader) (*api.Added, error) {
		_, err := io.Copy(io.Discard, in)
		seen <- err
		return &api.Added{Address: "whole"}, err
	}})
	broken := errors.New("the tape tore")
	in := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
	if a, err := c.AddStream(t.Context(), api.AddRequest{}, in); !errors.Is(err, broken) {
		t.Errorf("%v, %v", a, err)
	}
	if err := <-seen; err == nil {
		t.Error("the node took half for the whole")
	}
}

// post sends a request as no client of ours would.
func (s *served) post(t *testing.T, verb string, body io.Reader, header ...string) (int, fault.Error) {
	t.Helper()
	status, raw := s.raw(t, http.MethodPost, verb, body, header...)
	return status, decodeFault(raw)
}

func (s *served) raw(t *testing.T, method, verb string, body io.Reader, header ...string) (int, []byte) {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.dir, home.Socket))
	}}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://node/v1/"+verb, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, raw
}

func TestRequestsThatAreRefused(t *testing.T) {
	called := false
	c := serve(t, &script{
		info: func(context.Context, api.InfoRequest) (*api.Info, error) { called = true; return &api.Info{}, nil },
		getStream: func(context.Context, api.GetRequest, io.Writer) (*api.Got, error) {
			called = true
			return &api.Got{}, nil
		},
		addStream: func(context.Context, api.AddRequest, io.Reader) (*api.Added, error) {
			called = true
			return &api.Added{}, nil
		},
	})
	huge := `{"address":"` + strings.Repeat("a", 1<<20) + `"}`
	for _, verb := range []string{"info", "get-stream"} {
		for name, body := range map[string]string{
			"nothing": "", "no JSON": "hello", "unknown field": `{"address":"a","more":1}`, "another type": `{"address":1}`,
			"two values": `{"address":"a"}{}`, "garbage behind": `{"address":"a"} x`, "oversized": huge, "cut off": huge[:100],
		} {
			if status, f := c.post(t, verb, strings.NewReader(body)); status != 400 || f.Exit != fault.Usage || f.Hint == "" || called {
				t.Errorf("%s, %s: status %d, %+v, called %v", verb, name, status, f, called)
			}
		}
	}
	encode := base64.StdEncoding.EncodeToString
	for name, header := range map[string]string{
		"no header": "", "no base64": "{}", "no JSON": encode([]byte("x")), "unknown field": encode([]byte(`{"paht":"/"}`)),
		"two values": encode([]byte("{}{}")),
	} {
		if status, f := c.post(t, "add-stream", strings.NewReader("content"), api.RequestHeader, header); status != 400 || f.Exit != fault.Usage || called {
			t.Errorf("add-stream, %s: status %d, %+v", name, status, f)
		}
	}
	if status, _ := c.post(t, "info", strings.NewReader(`{"address":"a"} `)); status != 200 || !called { // the control
		t.Errorf("a sound request has status %d", status)
	}
	if status, _ := c.raw(t, http.MethodGet, "status", nil); status != 405 {
		t.Errorf("GET has status %d", status)
	}
	if status, _ := c.raw(t, http.MethodPost, "nothing", nil); status != 404 {
		t.Errorf("an unknown verb has status %d", status)
	}
}

func TestSocketIsForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), home.Socket)
	for range 2 { // the second replaces what a killed process left
		l, err := api.Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %o", info.Mode().Perm())
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	if c := client.Dial(t.Context(), filepath.Dir(path)); c != nil {
		t.Error("a stale socket answers")
	}
	if c := client.Dial(t.Context(), shortDir(t)); c != nil {
		t.Error("no socket answers")
	}
	l, err := api.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// What is under way when the node is told to stop is finished, and its answer
// arrives whole.
func TestRequestsUnderWayAreFinished(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var s script
	s.add = func(ctx context.Context, _ api.AddRequest) (*api.Added, error) {
		close(entered)
		<-leave
		return &api.Added{Address: "done"}, ctx.Err()
	}
	c := serve(t, &s)
	type answer struct {
		a   *api.Added
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		a, err := c.Add(t.Context(), api.AddRequest{})
		answered <- answer{a, err}
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- c.stop() }()
	for client.Dial(t.Context(), c.dir) != nil { // until it takes no more
	}
	close(leave)
	if got := <-answered; got.err != nil || got.a.Address != "done" {
		t.Errorf("%+v, %v", got.a, got.err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := c.Add(t.Context(), api.AddRequest{}); err == nil || fault.Of(err).Hint == "" {
		t.Errorf("after the end: %v", err)
	}
}

func TestCallerWhoGivesUp(t *testing.T) {
	gone := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, &script{status: func(ctx context.Context) (*api.Status, error) {
		cancel()
		<-ctx.Done()
		gone <- ctx.Err()
		return nil, ctx.Err()
	}})
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-gone; err == nil {
		t.Error("the node works on for nobody")
	}
}

func decodeFault(raw []byte) (f fault.Error) {
	json.Unmarshal(raw, &f) // a body that is no fault leaves it empty
	return f
}

//go:build unix

package client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// A regular file is written by the node itself, where the command has come to in it;
// what may make a writer wait gets its content through the socket.
func TestTheNodeWritesAFile(t *testing.T) {
	var direct atomic.Bool
	c := serve(t, &script{getStream: func(_ context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
		_, file := w.(*os.File)
		direct.Store(file)
		n, err := io.WriteString(w, "content of "+r.Address)
		return &api.Got{Size: int64(n)}, err
	}})
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "before, ")
	if got, err := c.GetStream(t.Context(), api.GetRequest{Address: "a"}, f); err != nil || got.Size != 12 || !direct.Load() {
		t.Errorf("%+v, %v, by the node itself: %v", got, err, direct.Load())
	}
	io.WriteString(f, ", after")
	if all, err := os.ReadFile(path); err != nil || string(all) != "before, content of a, after" {
		t.Errorf("%q, %v", all, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := c.GetStream(t.Context(), api.GetRequest{Address: "b"}, w); err != nil || direct.Load() {
		t.Errorf("%v, a pipe written by the node itself: %v", err, direct.Load())
	}
	w.Close()
	if all, err := io.ReadAll(r); err != nil || string(all) != "content of b" {
		t.Errorf("%q, %v", all, err)
	}
}

// What the node says about a file that it was handed is what the caller hears: its
// refusal, and the disk's.
func TestTheNodeCannotWriteAFile(t *testing.T) {
	c := serve(t, &script{getStream: func(_ context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
		if r.Address == "denied" {
			return nil, fault.New(fault.Denied, "ask", "no")
		}
		_, err := io.WriteString(w, "content")
		return &api.Got{}, err
	}})
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := c.GetStream(t.Context(), api.GetRequest{Address: "denied"}, f); fault.Of(err).Exit != fault.Denied || fault.Of(err).Hint != "ask" {
		t.Errorf("%v", err)
	}
	if _, err := c.GetStream(t.Context(), api.GetRequest{}, f); err == nil || !strings.Contains(err.Error(), "the output") {
		t.Errorf("%v", err)
	}
}

// sending is an HTTP client whose connections carry a file.
func sending(path string, f *os.File) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		conn, err := net.Dial("unix", path)
		if err != nil || f == nil {
			return conn, err
		}
		return api.WithFile(conn, f)
	}}}
}

// A file that nobody asked for is closed with its connection, and a request for one
// that did not come is refused.
func TestHandoverOutOfPlace(t *testing.T) {
	c := serve(t, &script{status: func(context.Context) (*api.Status, error) { return &api.Status{}, nil }})
	path := filepath.Join(c.dir, home.Socket)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	uncalled := sending(path, w)
	resp, err := uncalled.Post("http://node/v1/status", "", strings.NewReader("{}"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, resp)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	w.Close()
	uncalled.CloseIdleConnections()
	if all, err := io.ReadAll(r); err != nil || len(all) > 0 { // ends only when the node has closed its copy too
		t.Errorf("%q, %v", all, err)
	}
	for _, body := range []string{"{}", `{"address":"a"}`} {
		resp, err := sending(path, nil).Post("http://node/v1/get-handed", "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(said), "no open file came") {
			t.Errorf("%s: %s", resp.Status, said)
		}
	}
}

// A pipe that is handed over all the same is refused, and closed: nobody may keep the
// node waiting for a reader that never reads.
func TestTheNodeTakesNoPipe(t *testing.T) {
	c := serve(t, &script{}) // which is not asked
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	resp, err := sending(filepath.Join(c.dir, home.Socket), w).Post("http://node/v1/get-handed", "", strings.NewReader(`{"address":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(said), "no regular file") {
		t.Errorf("%s: %s", resp.Status, said)
	}
	w.Close()
	if all, err := io.ReadAll(r); err != nil || len(all) > 0 { // ends only when the node has closed its copy
		t.Errorf("%q, %v", all, err)
	}
}

// One file serves one request: the next one on the same connection has none.
func TestHandoverServesOnce(t *testing.T) {
	c := serve(t, &script{getStream: func(_ context.Context, _ api.GetRequest, w io.Writer) (*api.Got, error) {
		_, err := io.WriteString(w, "once")
		return &api.Got{}, err
	}})
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sending(filepath.Join(c.dir, home.Socket), f)
	defer h.CloseIdleConnections()
	var said []string
	for range 2 {
		resp, err := h.Post("http://node/v1/get-handed", "", strings.NewReader(`{"address":"a"}`))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		said = append(said, fmt.Sprint(resp.StatusCode))
	}
	all, err := os.ReadFile(out)
	if err != nil || string(all) != "once" || said[0] != "200" || said[1] != "400" {
		t.Errorf("%q, %v, %v", all, said, err)
	}
}

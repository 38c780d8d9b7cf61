package client_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// limited is a server with limits.
func limited(t *testing.T, s api.Service, limits api.Limits) (dir string) {
	t.Helper()
	dir = shortDir(t)
	l, err := api.Listen(filepath.Join(dir, home.Socket))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := api.NewServer(s, slog.New(slog.DiscardHandler))
	server.Limits = limits
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir
}

// says writes to a server's socket and leaves the rest to the test.
func says(t *testing.T, dir, what string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, home.Socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	return c
}

func posts(verb string, length int, body string) string {
	return fmt.Sprintf("POST /v1/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", verb, length, body)
}

// TestSlowCallers (RE-03): who does not send its request, or does not read its answer,
// is parted from in time. The control: who does both is answered, however long the
// work takes.
func TestSlowCallers(t *testing.T) {
	const brief = 100 * time.Millisecond
	large := strings.Repeat("x", 8<<20)
	slow := make(chan struct{})
	dir := limited(t, &script{
		status: func(context.Context) (*api.Status, error) { return &api.Status{PeerID: large}, nil },
		info: func(ctx context.Context, _ api.InfoRequest) (*api.Info, error) {
			select {
			case <-slow:
			case <-ctx.Done():
			}
			return &api.Info{}, ctx.Err()
		},
	}, api.Limits{Read: brief, Write: brief})

	for name, what := range map[string]string{
		"half a header": "POST /v1/status HTTP/1.1\r\nHos", "half a request": posts("status", 100, "{"), "nothing": "",
	} {
		raw, err := io.ReadAll(says(t, dir, what)) // ends with the connection, or the test hangs
		if err != nil || strings.Contains(string(raw), "200 OK") {
			t.Errorf("%s: %v, %.60s", name, err, raw)
		}
	}
	answered := func(c io.Reader) (int, error) {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		n, err := io.Copy(io.Discard, r.Body)
		return int(n), err
	}
	if n, err := answered(says(t, dir, posts("status", 2, "{}"))); err != nil || n < len(large) {
		t.Errorf("who reads got %d bytes: %v", n, err)
	}
	lazy := says(t, dir, posts("status", 2, "{}"))
	waits := says(t, dir, posts("info", 2, "{}"))
	first := make([]byte, 1) // with it the answer is under way: only then does its time run
	if _, err := io.ReadFull(lazy, first); err != nil {
		t.Fatal(err)
	}
	next := says(t, dir, "") // the server closes it after the time of a request: the answer's is over too
	io.ReadAll(next)
	next = says(t, dir, "")
	io.ReadAll(next)
	if n, err := answered(io.MultiReader(bytes.NewReader(first), lazy)); err == nil || n >= len(large) {
		t.Errorf("who did not read got all %d bytes", n)
	}
	close(slow)
	if _, err := answered(waits); err != nil {
		t.Errorf("who waits for long work: %v", err)
	}
}

// TestStreamsAreBounded (RE-03): streams that stall hold their places and no more; other
// requests are answered, and a place that is left can be had.
func TestStreamsAreBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	dir := limited(t, &script{
		status: func(context.Context) (*api.Status, error) { return &api.Status{}, nil },
		getStream: func(ctx context.Context, _ api.GetRequest, _ io.Writer) (*api.Got, error) {
			entered <- struct{}{}
			<-leave
			return &api.Got{}, nil
		},
	}, api.Limits{Streams: 2})
	dials := func() *client.Client {
		c := client.Dial(t.Context(), dir)
		if c == nil {
			t.Fatal("nobody answers")
		}
		t.Cleanup(c.Close)
		return c
	}
	done := make(chan error, 3)
	gets := func() {
		c := dials()
		go func() { _, err := c.GetStream(t.Context(), api.GetRequest{}, io.Discard); done <- err }()
	}
	for range 2 {
		gets()
		<-entered
	}
	gets()
	if f := fault.Of(<-done); f.Exit != fault.Unavailable || f.Hint == "" {
		t.Errorf("the third stream: %v", f)
	}
	if _, err := dials().Status(t.Context()); err != nil {
		t.Errorf("another request: %v", err)
	}
	leave <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	gets()
	<-entered // the place is free again
	close(leave)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

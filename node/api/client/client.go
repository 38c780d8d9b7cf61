// Package client is the command line's side of package api: a Service that asks
// the node running on a home.
package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// Client asks a running node. It implements [api.Service].
type Client struct {
	http *http.Client
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const dialTime = 2 * time.Second

// Dial finds the node that runs on a home; nil where none answers.
func Dial(ctx context.Context, dir string) *Client {
	path := filepath.Join(dir, home.Socket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTime}
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		return nil
	}
	conn.Close()
	return &Client{dial: dial, http: &http.Client{Transport: &http.Transport{
		DialContext: dial, ReadBufferSize: connBuffer, WriteBufferSize: connBuffer, DisableCompression: true, MaxIdleConnsPerHost: maxIdle,
	}}}
}

const (
	connBuffer = 32 << 10 // content is copied past it in larger pieces
	maxIdle    = 64       // as many streams as a node serves at a time
)

// pieces are the buffers with which content is copied.
var pieces = sync.Pool{New: func() any { b := make([]byte, 1<<20); return &b }}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, verb string, body io.Reader, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/v1/"+verb, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, gone(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var f fault.Error
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&f); err != nil || f.Message == "" || f.Exit == fault.OK {
		return nil, fmt.Errorf("the node answered %s to %s; is it of another version?", resp.Status, verb)
	}
	return nil, &f
}

func gone(err error) error {
	return fault.Wrap(fault.Failed, errors.Unwrap(err), "look at the node's log and start it again with `cerebrum run`", "the node went away")
}

func call[A any](ctx context.Context, c *Client, verb string, q any) (*A, error) {
	raw, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, verb, bytes.NewReader(raw), nil)
	if err != nil {
		return nil, err
	}
	return decode[A](resp)
}

func decode[A any](resp *http.Response) (*A, error) {
	defer resp.Body.Close()
	var a A
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, gone(fmt.Errorf("read: %w", err))
	}
	return &a, nil
}

// Status implements api.Service.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	return call[api.Status](ctx, c, "status", struct{}{})
}

// Peers implements api.Service.
func (c *Client) Peers(ctx context.Context) (*api.Peers, error) {
	return call[api.Peers](ctx, c, "peers", struct{}{})
}

// Usage implements api.Service.
func (c *Client) Usage(ctx context.Context) (*api.Usage, error) {
	return call[api.Usage](ctx, c, "usage", struct{}{})
}

// Add implements api.Service.
func (c *Client) Add(ctx context.Context, r api.AddRequest) (*api.Added, error) {
	return call[api.Added](ctx, c, "add", r)
}

// AddStream implements api.Service.
func (c *Client) AddStream(ctx context.Context, r api.AddRequest, content io.Reader) (*api.Added, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	h := http.Header{api.RequestHeader: {base64.StdEncoding.EncodeToString(raw)}}
	in := &input{r: content}
	resp, err := c.send(ctx, "add-stream", in, h)
	if err != nil {
		if failed := in.failed.Load(); failed != nil && ctx.Err() == nil {
			return nil, fault.Wrap(fault.Failed, *failed, "nothing was added", "reading the content")
		}
		return nil, err
	}
	return decode[api.Added](resp)
}

// input remembers its own errors, which are not the node's.
type input struct {
	r      io.Reader
	failed atomic.Pointer[error]
}

func (i *input) Read(p []byte) (n int, err error) {
	if n, err = i.r.Read(p); err != nil && err != io.EOF {
		i.failed.Store(&err)
	}
	return n, err
}

// Get implements api.Service.
func (c *Client) Get(ctx context.Context, r api.GetRequest) (*api.Got, error) {
	return call[api.Got](ctx, c, "get", r)
}

// GetStream implements api.Service. The node itself writes a file that cannot make it
// wait: content does not come through the socket then.
func (c *Client) GetStream(ctx context.Context, r api.GetRequest, w io.Writer) (*api.Got, error) {
	if f, ok := w.(*os.File); ok && api.NeverWaits(f) {
		got, err := c.handed(f).get(ctx, r)
		if !errors.Is(err, api.ErrHandover) {
			return got, err
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, "get-stream", bytes.NewReader(raw), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	out := &output{w: w}
	if _, err := io.CopyBuffer(out, resp.Body, *piece); err != nil {
		if out.err != nil || ctx.Err() != nil {
			return nil, err
		}
		return nil, gone(fmt.Errorf("read: %w", err))
	}
	return api.DecodeResult(resp.Trailer.Get(api.ResultTrailer))
}

// Rekey implements api.Service.
func (c *Client) Rekey(ctx context.Context, r api.RekeyRequest) (*api.Rekeyed, error) {
	return call[api.Rekeyed](ctx, c, "rekey", r)
}

// Progress implements api.Service.
func (c *Client) Progress(ctx context.Context, r api.ProgressRequest) (*api.Progress, error) {
	return call[api.Progress](ctx, c, "progress", r)
}

// output remembers its own errors, which are not the node's.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (n int, err error) {
	n, o.err = o.w.Write(p)
	return n, o.err
}

// List implements api.Service.
func (c *Client) List(ctx context.Context) (*api.Objects, error) {
	return call[api.Objects](ctx, c, "list", struct{}{})
}

// Info implements api.Service.
func (c *Client) Info(ctx context.Context, r api.InfoRequest) (*api.Info, error) {
	return call[api.Info](ctx, c, "info", r)
}

// Verify implements api.Service.
func (c *Client) Verify(ctx context.Context, r api.VerifyRequest) (*api.Verified, error) {
	return call[api.Verified](ctx, c, "verify", r)
}

// Export implements api.Service.
func (c *Client) Export(ctx context.Context, r api.ExportRequest) (*api.Exported, error) {
	return call[api.Exported](ctx, c, "export", r)
}

// Import implements api.Service.
func (c *Client) Import(ctx context.Context, r api.ImportRequest) (*api.Imported, error) {
	return call[api.Imported](ctx, c, "import", r)
}

// Grant implements api.Service.
func (c *Client) Grant(ctx context.Context, r api.GrantRequest) (*api.Granted, error) {
	return call[api.Granted](ctx, c, "grant", r)
}

// Delegate implements api.Service.
func (c *Client) Delegate(ctx context.Context, r api.GrantRequest) (*api.Granted, error) {
	return call[api.Granted](ctx, c, "delegate", r)
}

// Accept implements api.Service.
func (c *Client) Accept(ctx context.Context, r api.AcceptRequest) (*api.Granted, error) {
	return call[api.Granted](ctx, c, "accept", r)
}

// Grants implements api.Service.
func (c *Client) Grants(ctx context.Context, r api.GrantsRequest) (*api.Grants, error) {
	return call[api.Grants](ctx, c, "grants", r)
}

// GrantShow implements api.Service.
func (c *Client) GrantShow(ctx context.Context, r api.GrantShowRequest) (*api.GrantsShown, error) {
	return call[api.GrantsShown](ctx, c, "grant-show", r)
}

// Revoke implements api.Service.
func (c *Client) Revoke(ctx context.Context, r api.RevokeRequest) (*api.Revoked, error) {
	return call[api.Revoked](ctx, c, "revoke", r)
}

// Network implements api.Service.
func (c *Client) Network(ctx context.Context) (*api.NetworkFile, error) {
	return call[api.NetworkFile](ctx, c, "network", struct{}{})
}

// Adopt implements api.Service.
func (c *Client) Adopt(ctx context.Context, r api.AdoptRequest) (*api.Adopted, error) {
	return call[api.Adopted](ctx, c, "adopt", r)
}

// Permit implements api.Service.
func (c *Client) Permit(ctx context.Context, r api.PermitRequest) (*api.Permitted, error) {
	return call[api.Permitted](ctx, c, "permit", r)
}

// Erase implements api.Service.
func (c *Client) Erase(ctx context.Context, r api.EraseRequest) (*api.Erased, error) {
	return call[api.Erased](ctx, c, "erase", r)
}

// Retain implements api.Compliance.
func (c *Client) Retain(ctx context.Context, r api.RetainRequest) (*api.Retained, error) {
	return call[api.Retained](ctx, c, "retain", r)
}

// Hold implements api.Service.
func (c *Client) Hold(ctx context.Context, r api.HoldRequest) (*api.Held, error) {
	return call[api.Held](ctx, c, "hold", r)
}

// Unhold implements api.Service.
func (c *Client) Unhold(ctx context.Context, r api.UnholdRequest) (*api.Held, error) {
	return call[api.Held](ctx, c, "unhold", r)
}

// Holds implements api.Service.
func (c *Client) Holds(ctx context.Context) (*api.Holds, error) {
	return call[api.Holds](ctx, c, "holds", struct{}{})
}

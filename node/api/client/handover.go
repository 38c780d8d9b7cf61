package client

import (
	"context"
	"net"
	"net/http"
	"os"

	"cerebrum.dev/cerebrum/node/api"
)

// handing is a client of one connection, which carries an open file.
type handing struct{ *Client }

func (c *Client) handed(f *os.File) handing {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := c.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		with, err := api.WithFile(conn, f)
		if err != nil {
			conn.Close()
		}
		return with, err
	}
	return handing{&Client{dial: dial, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}}
}

func (h handing) get(ctx context.Context, r api.GetRequest) (*api.Got, error) {
	defer h.Close()
	return call[api.Got](ctx, h.Client, "get-handed", r)
}

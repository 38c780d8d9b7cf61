package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Pin implements api.Service.
func (c *Client) Pin(ctx context.Context, r api.PinRequest) (*api.Objects, error) {
	return call[api.Objects](ctx, c, "pin", r)
}

// Unpin implements api.Service.
func (c *Client) Unpin(ctx context.Context, r api.UnpinRequest) (*api.Objects, error) {
	return call[api.Objects](ctx, c, "unpin", r)
}

// GC implements api.Service.
func (c *Client) GC(ctx context.Context, r api.GCRequest) (*api.Collected, error) {
	return call[api.Collected](ctx, c, "gc", r)
}

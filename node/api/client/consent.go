package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Consent implements api.Service.
func (c *Client) Consent(ctx context.Context, r api.ConsentRequest) (*api.Consented, error) {
	return call[api.Consented](ctx, c, "consent", r)
}

// Consents implements api.Service.
func (c *Client) Consents(ctx context.Context, r api.ConsentsRequest) (*api.Consents, error) {
	return call[api.Consents](ctx, c, "consents", r)
}

// Request implements api.Service.
func (c *Client) Request(ctx context.Context, r api.AccessRequest) (*api.Granted, error) {
	return call[api.Granted](ctx, c, "request", r)
}

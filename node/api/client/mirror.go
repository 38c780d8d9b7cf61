package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Mirror implements api.Service.
func (c *Client) Mirror(ctx context.Context, r api.MirrorRequest) (*api.Mirrored, error) {
	return call[api.Mirrored](ctx, c, "mirror", r)
}

// Unmirror implements api.Service.
func (c *Client) Unmirror(ctx context.Context, r api.UnmirrorRequest) (*api.Unmirrored, error) {
	return call[api.Unmirrored](ctx, c, "unmirror", r)
}

// Mirrored implements api.Service.
func (c *Client) Mirrored(ctx context.Context) (*api.MirrorList, error) {
	return call[api.MirrorList](ctx, c, "mirrored", struct{}{})
}

// MirrorCheck implements api.Service.
func (c *Client) MirrorCheck(ctx context.Context, r api.MirrorCheckRequest) (*api.MirrorChecked, error) {
	return call[api.MirrorChecked](ctx, c, "mirror-check", r)
}

// MirrorOffer implements api.Service.
func (c *Client) MirrorOffer(ctx context.Context, r api.MirrorOfferRequest) (*api.MirrorOffered, error) {
	return call[api.MirrorOffered](ctx, c, "mirror-offer", r)
}

// Replicate implements api.Service.
func (c *Client) Replicate(ctx context.Context, r api.ReplicateRequest) (*api.Replica, error) {
	return call[api.Replica](ctx, c, "replicate", r)
}

// Unreplicate implements api.Service.
func (c *Client) Unreplicate(ctx context.Context, r api.UnreplicateRequest) (*api.Replica, error) {
	return call[api.Replica](ctx, c, "unreplicate", r)
}

// Replicas implements api.Service.
func (c *Client) Replicas(ctx context.Context) (*api.Replicas, error) {
	return call[api.Replicas](ctx, c, "replicas", struct{}{})
}

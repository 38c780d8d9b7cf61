package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Enrol implements api.Service.
func (c *Client) Enrol(ctx context.Context, r api.EnrolRequest) (*api.Enrolled, error) {
	return call[api.Enrolled](ctx, c, "enrol", r)
}

// AdoptIdentity implements api.Service.
func (c *Client) AdoptIdentity(ctx context.Context, r api.AdoptIdentityRequest) (*api.Published, error) {
	return call[api.Published](ctx, c, "adopt-identity", r)
}

// Devices implements api.Service.
func (c *Client) Devices(ctx context.Context, r api.DevicesRequest) (*api.Devices, error) {
	return call[api.Devices](ctx, c, "devices", r)
}

// AddDevice implements api.Service.
func (c *Client) AddDevice(ctx context.Context, r api.AddDeviceRequest) (*api.Published, error) {
	return call[api.Published](ctx, c, "add-device", r)
}

// RemoveDevice implements api.Service.
func (c *Client) RemoveDevice(ctx context.Context, r api.RemoveDeviceRequest) (*api.Published, error) {
	return call[api.Published](ctx, c, "remove-device", r)
}

// Recover implements api.Service.
func (c *Client) Recover(ctx context.Context, r api.RecoverRequest) (*api.Published, error) {
	return call[api.Published](ctx, c, "recover", r)
}

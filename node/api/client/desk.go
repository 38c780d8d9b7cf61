package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Pending implements api.Desk.
func (c *Client) Pending(ctx context.Context) (*api.PendingGrants, error) {
	return call[api.PendingGrants](ctx, c, "pending", struct{}{})
}

// Decide implements api.Desk.
func (c *Client) Decide(ctx context.Context, r api.DecideRequest) (*api.Decided, error) {
	return call[api.Decided](ctx, c, "decide", r)
}

// Policy implements api.Desk.
func (c *Client) Policy(ctx context.Context, r api.PolicyRequest) (*api.Policy, error) {
	return call[api.Policy](ctx, c, "policy", r)
}

// PolicyPropose implements api.Desk.
func (c *Client) PolicyPropose(ctx context.Context, r api.ProposeRequest) (*api.Proposal, error) {
	return call[api.Proposal](ctx, c, "policy-propose", r)
}

// PolicySign implements api.Desk.
func (c *Client) PolicySign(ctx context.Context, r api.SignPolicyRequest) (*api.Proposal, error) {
	return call[api.Proposal](ctx, c, "policy-sign", r)
}

// PolicyAdopt implements api.Desk.
func (c *Client) PolicyAdopt(ctx context.Context, r api.AdoptRequest) (*api.PolicyAdopted, error) {
	return call[api.PolicyAdopted](ctx, c, "policy-adopt", r)
}

// PolicySimulate implements api.Desk.
func (c *Client) PolicySimulate(ctx context.Context, r api.SimulateRequest) (*api.Simulated, error) {
	return call[api.Simulated](ctx, c, "policy-simulate", r)
}

// RoleAssign implements api.Desk.
func (c *Client) RoleAssign(ctx context.Context, r api.RoleRequest) (*api.RoleList, error) {
	return call[api.RoleList](ctx, c, "role-assign", r)
}

// RoleRevoke implements api.Desk.
func (c *Client) RoleRevoke(ctx context.Context, r api.RoleRequest) (*api.RoleList, error) {
	return call[api.RoleList](ctx, c, "role-revoke", r)
}

// RoleList implements api.Desk.
func (c *Client) RoleList(ctx context.Context, r api.RoleRequest) (*api.RoleList, error) {
	return call[api.RoleList](ctx, c, "role-list", r)
}

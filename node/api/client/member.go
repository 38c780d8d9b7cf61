package client

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

// Invite implements api.Members.
func (c *Client) Invite(ctx context.Context, r api.InviteRequest) (*api.Invited, error) {
	return call[api.Invited](ctx, c, "invite", r)
}

// Invitations implements api.Members.
func (c *Client) Invitations(ctx context.Context) (*api.Invitations, error) {
	return call[api.Invitations](ctx, c, "invitations", struct{}{})
}

// Uninvite implements api.Members.
func (c *Client) Uninvite(ctx context.Context, r api.UninviteRequest) (*api.Uninvited, error) {
	return call[api.Uninvited](ctx, c, "uninvite", r)
}

// RemoveMember implements api.Members.
func (c *Client) RemoveMember(ctx context.Context, r api.RemoveMemberRequest) (*api.RemovedMember, error) {
	return call[api.RemovedMember](ctx, c, "remove-member", r)
}

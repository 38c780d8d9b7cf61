package client_test

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

func (s *spy) Invite(_ context.Context, r api.InviteRequest) (*api.Invited, error) {
	s.note("Invite", r.As)
	return &api.Invited{}, nil
}

func (s *spy) Invitations(context.Context) (*api.Invitations, error) {
	s.note("Invitations", "Invitations")
	return &api.Invitations{}, nil
}

func (s *spy) Uninvite(_ context.Context, r api.UninviteRequest) (*api.Uninvited, error) {
	s.note("Uninvite", r.Invitation)
	return &api.Uninvited{}, nil
}

func (s *spy) RemoveMember(_ context.Context, r api.RemoveMemberRequest) (*api.RemovedMember, error) {
	s.note("RemoveMember", r.As)
	return &api.RemovedMember{}, nil
}

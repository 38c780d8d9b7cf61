package client_test

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

func (s *spy) Mirror(_ context.Context, r api.MirrorRequest) (*api.Mirrored, error) {
	s.note("Mirror", r.As)
	return &api.Mirrored{}, nil
}

func (s *spy) Unmirror(_ context.Context, r api.UnmirrorRequest) (*api.Unmirrored, error) {
	s.note("Unmirror", r.Address)
	return &api.Unmirrored{}, nil
}

func (s *spy) Mirrored(context.Context) (*api.MirrorList, error) {
	s.note("Mirrored", "Mirrored")
	return &api.MirrorList{}, nil
}

func (s *spy) MirrorCheck(_ context.Context, r api.MirrorCheckRequest) (*api.MirrorChecked, error) {
	s.note("MirrorCheck", r.Address)
	return &api.MirrorChecked{}, nil
}

func (s *spy) MirrorOffer(_ context.Context, r api.MirrorOfferRequest) (*api.MirrorOffered, error) {
	s.note("MirrorOffer", r.As)
	return &api.MirrorOffered{}, nil
}

func (s *spy) Replicate(_ context.Context, r api.ReplicateRequest) (*api.Replica, error) {
	s.note("Replicate", r.Address)
	return &api.Replica{}, nil
}

func (s *spy) Unreplicate(_ context.Context, r api.UnreplicateRequest) (*api.Replica, error) {
	s.note("Unreplicate", r.Address)
	return &api.Replica{}, nil
}

func (s *spy) Replicas(context.Context) (*api.Replicas, error) {
	s.note("Replicas", "Replicas")
	return &api.Replicas{}, nil
}

package client_test

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

func (s *spy) Pin(_ context.Context, r api.PinRequest) (*api.Objects, error) {
	s.note("Pin", r.As)
	return &api.Objects{}, nil
}

func (s *spy) Unpin(_ context.Context, r api.UnpinRequest) (*api.Objects, error) {
	s.note("Unpin", r.Address)
	return &api.Objects{}, nil
}

func (s *spy) GC(_ context.Context, r api.GCRequest) (*api.Collected, error) {
	s.note("GC", map[bool]string{true: "GC"}[r.DryRun])
	return &api.Collected{}, nil
}

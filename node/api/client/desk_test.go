package client_test

import (
	"context"

	"cerebrum.dev/cerebrum/node/api"
)

func (s *spy) Pending(context.Context) (*api.PendingGrants, error) {
	s.note("Pending", "Pending")
	return &api.PendingGrants{}, nil
}

func (s *spy) Decide(_ context.Context, r api.DecideRequest) (*api.Decided, error) {
	s.note("Decide", r.ID)
	return &api.Decided{}, nil
}

func (s *spy) Policy(_ context.Context, r api.PolicyRequest) (*api.Policy, error) {
	s.note("Policy", r.Word)
	return &api.Policy{}, nil
}

func (s *spy) PolicyPropose(_ context.Context, r api.ProposeRequest) (*api.Proposal, error) {
	s.note("PolicyPropose", r.Path)
	return &api.Proposal{}, nil
}

func (s *spy) PolicySign(_ context.Context, r api.SignPolicyRequest) (*api.Proposal, error) {
	s.note("PolicySign", r.Path)
	return &api.Proposal{}, nil
}

func (s *spy) PolicyAdopt(_ context.Context, r api.AdoptRequest) (*api.PolicyAdopted, error) {
	s.note("PolicyAdopt", r.Path)
	return &api.PolicyAdopted{}, nil
}

func (s *spy) PolicySimulate(_ context.Context, r api.SimulateRequest) (*api.Simulated, error) {
	s.note("PolicySimulate", r.As)
	return &api.Simulated{}, nil
}

func (s *spy) RoleAssign(_ context.Context, r api.RoleRequest) (*api.RoleList, error) {
	s.note("RoleAssign", r.Role)
	return &api.RoleList{}, nil
}

func (s *spy) RoleRevoke(_ context.Context, r api.RoleRequest) (*api.RoleList, error) {
	s.note("RoleRevoke", r.Role)
	return &api.RoleList{}, nil
}

func (s *spy) RoleList(_ context.Context, r api.RoleRequest) (*api.RoleList, error) {
	s.note("RoleList", r.Role)
	return &api.RoleList{}, nil
}

func (s *spy) Consent(_ context.Context, r api.ConsentRequest) (*api.Consented, error) {
	s.note("Consent", r.As)
	return &api.Consented{}, nil
}

func (s *spy) Consents(_ context.Context, r api.ConsentsRequest) (*api.Consents, error) {
	s.note("Consents", r.As)
	return &api.Consents{}, nil
}

func (s *spy) Request(_ context.Context, r api.AccessRequest) (*api.Granted, error) {
	s.note("Request", r.As)
	return &api.Granted{}, nil
}

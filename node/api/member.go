package api

import "context"

// Members are the verbs about who belongs to the network.
type Members interface {
	// Invite makes an invitation. It has a secret, which is kept nowhere.
	Invite(ctx context.Context, r InviteRequest) (*Invited, error)
	// Invitations are those that this home has made.
	Invitations(ctx context.Context) (*Invitations, error)
	// Uninvite revokes an invitation. Who has used it stays a member.
	Uninvite(ctx context.Context, r UninviteRequest) (*Uninvited, error)
	// RemoveMember says, as a validator, that a peer is no member any more.
	RemoveMember(ctx context.Context, r RemoveMemberRequest) (*RemovedMember, error)
}

// InviteRequest says whom to invite.
type InviteRequest struct {
	Role    string `json:"role"`
	Seconds int64  `json:"seconds"` // that the invitation is open
	Name    string `json:"name,omitempty"`
	As      string `json:"as,omitempty"`
}

// Invited is an invitation. Whoever has the text can use it.
type Invited struct {
	Invitation string `json:"invitation"` // its id
	Role       string `json:"role"`
	Name       string `json:"name,omitempty"`
	Network    string `json:"network_name"`
	Expires    string `json:"expires"`
	Text       string `json:"text,omitempty"`
	File       string `json:"file,omitempty"` // where the text was written to
}

// Invitations are those that a home has made.
type Invitations struct {
	Invitations []Invitation `json:"invitations"`
}

// Invitation is one of them.
type Invitation struct {
	Invitation string `json:"invitation"`
	Role       string `json:"role"`
	Name       string `json:"name,omitempty"`
	Expires    string `json:"expires"`
	State      string `json:"state"`             // open, used, expired or revoked
	Peer       string `json:"peer_id,omitempty"` // who has used it
}

// UninviteRequest names an invitation.
type UninviteRequest struct {
	Invitation string `json:"invitation"`
}

// Uninvited says how far a revocation came.
type Uninvited struct {
	Invitation string `json:"invitation"`
	Acks       int    `json:"acks"`
	Member     string `json:"member,omitempty"` // peer that had used it, and stays
}

// RemoveMemberRequest names a peer.
type RemoveMemberRequest struct {
	Peer   string `json:"peer_id"`
	Reason string `json:"reason,omitempty"`
	As     string `json:"as,omitempty"`
}

// RemovedMember says how far a removal is.
type RemovedMember struct {
	Peer  string `json:"peer_id"`
	State string `json:"state"` // removed, or waits
	Said  int    `json:"said"`  // validators that have said so
	Need  int    `json:"need"`  // how many must
	Acks  int    `json:"acks"`  // validators that have this one's word in their logs
}

// Banned is a peer that is barred for a while.
type Banned struct {
	ID    string  `json:"peer_id"`
	Score float64 `json:"score"`
	Until string  `json:"until"`
	Why   string  `json:"why"`
}

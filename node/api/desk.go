package api

import "context"

// Desk are the verbs of a validator's own operator. On a node that is no
// validator they are denied.
type Desk interface {
	// Pending lists the grants and roles that wait for a person at this validator.
	Pending(ctx context.Context) (*PendingGrants, error)
	// Decide approves or denies one of them. To approve a role is to ask for it too.
	Decide(ctx context.Context, r DecideRequest) (*Decided, error)

	// Policy shows a version of the policy.
	Policy(ctx context.Context, r PolicyRequest) (*Policy, error)
	// PolicyPropose makes an unsigned proposal of a folder's policies.
	PolicyPropose(ctx context.Context, r ProposeRequest) (*Proposal, error)
	// PolicySign signs a proposal's file and joins signed copies of it.
	PolicySign(ctx context.Context, r SignPolicyRequest) (*Proposal, error)
	// PolicyAdopt takes a proposal with enough signatures and gives it to the others.
	PolicyAdopt(ctx context.Context, r AdoptRequest) (*PolicyAdopted, error)
	// PolicySimulate asks what policy would say, and why.
	PolicySimulate(ctx context.Context, r SimulateRequest) (*Simulated, error)

	// RoleAssign asks all validators to give a role. It waits until people at F+1
	// of them have asked.
	RoleAssign(ctx context.Context, r RoleRequest) (*RoleList, error)
	RoleRevoke(ctx context.Context, r RoleRequest) (*RoleList, error)
	RoleList(ctx context.Context, r RoleRequest) (*RoleList, error)
}

// PendingGrants wait for a person, as roles do.
type PendingGrants struct {
	Pending []PendingGrant `json:"pending"`
	Roles   []PendingRole  `json:"roles,omitempty"`
}

// PendingRole is a role that is given once enough validators have asked for it.
type PendingRole struct {
	ID       string `json:"id"`
	Identity string `json:"identity"`
	Name     string `json:"name,omitempty"` // of an identity of this home
	Role     string `json:"role"`
	From     string `json:"from"`
	Expires  string `json:"expires"`
	Askers   []int  `json:"askers"` // validators, from 1, that have asked here
	Need     int    `json:"need"`   // how many must
	Asked    string `json:"asked"`
	Until    string `json:"until"` // it is forgotten unless it is given before
}

// Party is an identity as far as this home knows it.
type Party struct {
	Identity string `json:"identity"`
	Kind     string `json:"kind"`
	Name     string `json:"name,omitempty"` // of an identity of this home, or its place in the committee
}

// PendingGrant is a grant request in words.
type PendingGrant struct {
	ID       string   `json:"id"`
	Owner    Party    `json:"owner"`
	Audience Party    `json:"audience"`
	Target   string   `json:"target"`    // version, lineage or scope
	TargetID string   `json:"target_id"` // by which policies know it
	Objects  int      `json:"objects"`   // of the target that are deposited here, counted up to 256
	Labels   []string `json:"labels,omitempty"`
	Class    int      `json:"class"` // the highest of them
	Can      string   `json:"can"`
	Purposes []string `json:"purposes,omitempty"`
	From     string   `json:"from"`
	Expires  string   `json:"expires"`
	Depth    int      `json:"depth"`
	Offline  bool     `json:"offline"`
	Reason   string   `json:"reason,omitempty"` // as whoever asks states it
	Policy   string   `json:"policy"`           // what it said
	Asked    string   `json:"asked"`
	Until    string   `json:"until"` // it leaves the desk undecided
}

// DecideRequest decides one request, named by its id or an unambiguous beginning.
type DecideRequest struct {
	ID      string `json:"id"`
	Approve bool   `json:"approve"`
	Reason  string `json:"reason,omitempty"` // of a denial; the owner is told
}

// Decided says what was decided.
type Decided struct {
	ID    string `json:"id"`
	State string `json:"state"` // approved or denied; of a role denied, asked for, or given
}

// PolicyRequest names a version.
type PolicyRequest struct {
	Word string `json:"word,omitempty"` // a number, "newest", or empty: the one in force
}

// Policy is one version of a network's policy.
type Policy struct {
	Version  uint64       `json:"version"`
	Head     string       `json:"head"`
	From     string       `json:"from,omitempty"` // in force since or from
	InForce  bool         `json:"in_force"`
	Newest   uint64       `json:"newest"`
	Forks    int          `json:"forks"` // proofs that the committee signed two bundles of one version
	Policies []PolicyText `json:"policies"`
	Schema   string       `json:"schema"`
	Entities string       `json:"entities,omitempty"`
}

// PolicyText is one Cedar policy.
type PolicyText struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// ProposeRequest names a bundle's folder or file by its absolute path.
type ProposeRequest struct {
	Path  string `json:"path"`
	From  int64  `json:"from"` // Unix seconds
	Force bool   `json:"force,omitempty"`
}

// SignPolicyRequest names a proposal and signed copies of it, by absolute paths.
type SignPolicyRequest struct {
	Path   string   `json:"path"`
	Copies []string `json:"copies,omitempty"`
	Force  bool     `json:"force,omitempty"`
}

// Proposal is a bundle on its way through the validators' hands.
type Proposal struct {
	Version uint64 `json:"version"`
	Head    string `json:"head"`
	From    string `json:"from"`
	Signed  []int  `json:"signed"` // validators, from 1
	Of      int    `json:"of"`     // signatures that it needs
	File    string `json:"file,omitempty"`
	Content []byte `json:"content,omitempty"` // what the file holds
}

// PolicyAdopted says how far a bundle came.
type PolicyAdopted struct {
	Version uint64 `json:"version"`
	Head    string `json:"head"`
	From    string `json:"from"`
	Taken   int    `json:"taken"` // validators that have it
	Of      int    `json:"of"`
}

// SimulateRequest is a question to policy.
type SimulateRequest struct {
	As      string   `json:"as"` // contact or identity of this home
	Action  string   `json:"action"`
	On      string   `json:"on"`             // an address, or the hexadecimal id by which policies know it
	Kind    string   `json:"kind,omitempty"` // Dataset, Model or Collection
	Purpose string   `json:"purpose,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Roles   []string `json:"roles,omitempty"` // besides those that it has
	Labels  []string `json:"labels,omitempty"`
	Class   int64    `json:"class,omitempty"`
	Path    string   `json:"path,omitempty"` // of another bundle, absolute; empty: the one in force
}

// Simulated is what policy would say.
type Simulated struct {
	Allow    bool     `json:"allow"`
	Settled  bool     `json:"settled"` // otherwise a grant would wait for a person
	Policies []string `json:"policies"`
	Roles    []string `json:"roles"`
	Told     []string `json:"told,omitempty"` // what its requester would be told to state
	Bundle   string   `json:"bundle"`
	Why      string   `json:"why"`
}

// RoleRequest gives a role to an identity, takes it away, or asks for roles.
type RoleRequest struct {
	To      string `json:"to,omitempty"` // contact, identity id or identity of this home; empty: of everybody
	Role    string `json:"role,omitempty"`
	Seconds int64  `json:"seconds,omitempty"`
}

// RoleList are assignments of roles.
type RoleList struct {
	Roles []Role `json:"roles"`
}

// Role is one assignment.
type Role struct {
	ID       string `json:"id"`
	Identity string `json:"identity"`
	Role     string `json:"role"`
	From     string `json:"from,omitempty"`
	Expires  string `json:"expires,omitempty"`
	State    string `json:"state"`          // valid, expired, taken away, or waits
	Kept     int    `json:"kept,omitempty"` // validators that have it, where it was just made
}

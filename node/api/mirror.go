package api

import "context"

// Mirrors is the part of [Service] that carries ciphertext for others, and has
// others carry it.
type Mirrors interface {
	// Mirror fetches the ciphertext of what a grant covers and keeps it, to be served
	// to those who may have it. What is missing at the end of the request comes later
	// by itself.
	Mirror(ctx context.Context, r MirrorRequest) (*Mirrored, error)
	// Unmirror forgets what Mirror keeps under an address.
	Unmirror(ctx context.Context, r UnmirrorRequest) (*Unmirrored, error)
	Mirrored(ctx context.Context) (*MirrorList, error)
	// MirrorCheck reads every block that is carried, and fetches again what is damaged.
	MirrorCheck(ctx context.Context, r MirrorCheckRequest) (*MirrorChecked, error)
	// MirrorOffer has this home carry what it is granted to carry, by itself.
	MirrorOffer(ctx context.Context, r MirrorOfferRequest) (*MirrorOffered, error)

	// Replicate has some of several mirrors keep copies of what this home owns. A
	// mirror that is lost is replaced by itself.
	Replicate(ctx context.Context, r ReplicateRequest) (*Replica, error)
	// Unreplicate ends that, and revokes what the mirrors were granted.
	Unreplicate(ctx context.Context, r UnreplicateRequest) (*Replica, error)
	Replicas(ctx context.Context) (*Replicas, error)
}

// MirrorRequest names an object by its address: all that the grant covers is meant,
// for a directory everything in it, or with ThisVersion the one address.
type MirrorRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"`
	As          string `json:"as,omitempty"`
	Op          string `json:"op,omitempty"` // names the operation for Progress, in bytes of ciphertext
}

// Mirrored says what this home carries under an address.
type Mirrored struct {
	Address string   `json:"address"`
	Objects int      `json:"objects"`
	Bytes   uint64   `json:"bytes"`             // ciphertext that is carried under the address
	New     int      `json:"new"`               // objects that came now
	Missing int      `json:"missing"`           // objects that have not come yet
	Since   string   `json:"since,omitempty"`   // when it was asked for
	Offered bool     `json:"offered,omitempty"` // taken because of the offer
	State   string   `json:"state"`             // carried, incomplete, or ended: no grant is in force, and nothing is served
	From    []string `json:"from,omitempty"`    // peers that sent ciphertext
	Expires string   `json:"expires,omitempty"` // of the grant
}

// MirrorList is what this home carries, and what it offers.
type MirrorList struct {
	Mirrored []Mirrored    `json:"mirrored"`
	Offer    MirrorOffered `json:"offer"`
}

// UnmirrorRequest names an address that was mirrored.
type UnmirrorRequest struct {
	Address string `json:"address"`
}

// Unmirrored says what was forgotten.
type Unmirrored struct {
	Address string `json:"address"`
	Objects int    `json:"objects"`
	Bytes   uint64 `json:"bytes"`
}

// MirrorCheckRequest names an address that was mirrored, or none for all.
type MirrorCheckRequest struct {
	Address string `json:"address,omitempty"`
}

// MirrorChecked says what was checked.
type MirrorChecked struct {
	Objects  int      `json:"objects"`
	Checked  int      `json:"checked"`  // blocks
	Damaged  []string `json:"damaged"`  // blocks that were bad or missing
	Repaired []string `json:"repaired"` // objects that were damaged and are sound again
	Bad      []string `json:"bad"`      // objects that no holder had whole
}

// MirrorOfferRequest offers room in bytes; zero takes the offer back.
type MirrorOfferRequest struct {
	Bytes uint64   `json:"bytes"`
	From  []string `json:"from,omitempty"` // contacts of owners; empty: of anybody in the network
	As    string   `json:"as,omitempty"`
}

// MirrorOffered is an offer to carry.
type MirrorOffered struct {
	Bytes uint64   `json:"bytes"`
	Used  uint64   `json:"used"`
	From  []string `json:"from,omitempty"` // ids of owners
}

// ReplicateRequest asks for copies of what an address means, with all that a grant
// of it covers.
type ReplicateRequest struct {
	Address string   `json:"address"`
	Copies  int      `json:"copies"`
	On      []string `json:"on"`      // contacts of mirrors, in the order in which they are asked
	Seconds int64    `json:"seconds"` // how long a mirror may be away before the next one takes its place; 0: an hour
}

// UnreplicateRequest names what is replicated.
type UnreplicateRequest struct {
	Address string `json:"address"`
}

// Replicas are the targets of replication of this home.
type Replicas struct {
	Replicas []Replica `json:"replicas"`
}

// Replica is one target of replication.
type Replica struct {
	Address string         `json:"address"`
	Name    string         `json:"name,omitempty"`
	Copies  int            `json:"copies"`  // that are wanted
	Healthy int            `json:"healthy"` // mirrors that answered the last challenge
	Within  int64          `json:"within"`  // seconds
	Checked string         `json:"checked,omitempty"`
	Mirrors []ReplicaState `json:"mirrors"`
	Problem string         `json:"problem,omitempty"` // why the last look failed
}

// ReplicaState is one mirror of a target.
type ReplicaState struct {
	Identity string `json:"identity"`
	Peer     string `json:"peer,omitempty"` // that last proved to have a copy
	State    string `json:"state"`          // spare, asked, healthy, silent or lost
	Grant    string `json:"grant,omitempty"`
	Seen     string `json:"seen,omitempty"` // when it last proved to have a copy
}

// Package api is what a node does for the people on its machine, and the local
// HTTP interface to it over a unix socket of mode 0600.
//
// A [Service] is implemented twice: by package daemon, which works on a home,
// and by package client, which asks a running node. The command line uses
// whichever is there and does not know the difference.
//
// # Protocol
//
// Every verb is POST /v1/VERB with a JSON request and a JSON answer. An error is
// a fault in JSON with a 4xx or 5xx status. Three verbs stream: /v1/add-stream
// takes the content as its body, with its request in the Cerebrum-Request
// header; /v1/get-stream answers with the content, and with the result, or the
// fault that ended it, in the trailer Cerebrum-Result; /v1/audit-log-stream does
// likewise with entries of the log, as they come.
package api

import (
	"context"
	"io"
)

// Service is what a node does. Errors are faults (package fault).
type Service interface {
	Status(ctx context.Context) (*Status, error)
	Peers(ctx context.Context) (*Peers, error)
	// Usage tells what peers make this node hold. It needs a running node.
	Usage(ctx context.Context) (*Usage, error)

	// Add encrypts, stores and deposits a file or folder by its absolute path.
	Add(ctx context.Context, r AddRequest) (*Added, error)
	// AddStream does the same for what content yields.
	AddStream(ctx context.Context, r AddRequest, content io.Reader) (*Added, error)
	// Get writes an object's plaintext into r.Into, a file or folder that exists.
	// After an error what is there is of no use.
	Get(ctx context.Context, r GetRequest) (*Got, error)
	// GetStream writes to w instead. A part may have been written when it fails.
	GetStream(ctx context.Context, r GetRequest, w io.Writer) (*Got, error)

	// Rekey makes a new version of an object with the same content under a new key.
	// Where T validators have taken it, the old version is retired.
	Rekey(ctx context.Context, r RekeyRequest) (*Rekeyed, error)

	// Progress tells how far the request is that gave its operation this name.
	Progress(ctx context.Context, r ProgressRequest) (*Progress, error)

	List(ctx context.Context) (*Objects, error)
	Info(ctx context.Context, r InfoRequest) (*Info, error)
	Verify(ctx context.Context, r VerifyRequest) (*Verified, error)
	Export(ctx context.Context, r ExportRequest) (*Exported, error)
	Import(ctx context.Context, r ImportRequest) (*Imported, error)

	Grant(ctx context.Context, r GrantRequest) (*Granted, error)
	Delegate(ctx context.Context, r GrantRequest) (*Granted, error)
	Accept(ctx context.Context, r AcceptRequest) (*Granted, error)
	Grants(ctx context.Context, r GrantsRequest) (*Grants, error)
	// GrantShow tells everything about one grant. It needs no running node.
	GrantShow(ctx context.Context, r GrantShowRequest) (*GrantsShown, error)
	// Revoke ends a grant, a link, or a standing consent with all that rests on it.
	Revoke(ctx context.Context, r RevokeRequest) (*Revoked, error)

	// Consent agrees beforehand to grants that others ask for with Request, also
	// while this node is off. It is durable at K validators when it returns.
	Consent(ctx context.Context, r ConsentRequest) (*Consented, error)
	Consents(ctx context.Context, r ConsentsRequest) (*Consents, error)
	// Request makes a grant to oneself under a standing consent.
	Request(ctx context.Context, r AccessRequest) (*Granted, error)

	// Enrol prepares this home as a device of an identity and returns what to ask
	// another device of it for; AdoptIdentity takes the answer.
	Enrol(ctx context.Context, r EnrolRequest) (*Enrolled, error)
	AdoptIdentity(ctx context.Context, r AdoptIdentityRequest) (*Published, error)
	Devices(ctx context.Context, r DevicesRequest) (*Devices, error)
	// AddDevice, RemoveDevice and Recover publish a record in the validators' logs.
	// The answer may say that it waits: it is durable here then, and goes on.
	AddDevice(ctx context.Context, r AddDeviceRequest) (*Published, error)
	RemoveDevice(ctx context.Context, r RemoveDeviceRequest) (*Published, error)
	Recover(ctx context.Context, r RecoverRequest) (*Published, error)

	// Network is the network file that a newcomer could be handed now.
	Network(ctx context.Context) (*NetworkFile, error)
	// Adopt takes further committee records of this home's network from a file.
	Adopt(ctx context.Context, r AdoptRequest) (*Adopted, error)
	// Permit asks the guard of this home whether a validator's key may sign; what it
	// permits is durable, and nothing else is permitted in its place.
	Permit(ctx context.Context, r PermitRequest) (*Permitted, error)

	Desk
	Members
	Mirrors
	Keeping
	Audit
	Compliance

	// Erase orders the keys of an object to be destroyed everywhere, for ever. An
	// order that too few validators have carried out yet is kept and goes on; the
	// same request again tells how far it is.
	Erase(ctx context.Context, r EraseRequest) (*Erased, error)
	// Hold puts an object under a legal hold, and Unhold ends a hold.
	Hold(ctx context.Context, r HoldRequest) (*Held, error)
	Unhold(ctx context.Context, r UnholdRequest) (*Held, error)
	Holds(ctx context.Context) (*Holds, error)
}

// NetworkFile is a network file as text.
type NetworkFile struct {
	File string `json:"file"`
}

// AdoptRequest names a network file by its absolute path.
type AdoptRequest struct {
	Path string `json:"path"`
}

// Adopted says which committee record is the newest now.
type Adopted struct {
	Network   string `json:"network"`
	Name      string `json:"name"`
	RootEpoch uint64 `json:"root_epoch"`
	Version   uint64 `json:"version"`
	Record    string `json:"record"`
	Newest    bool   `json:"newest"` // it is the last one of the file
}

// PermitRequest names a statement and its position.
type PermitRequest struct {
	Kind    string `json:"kind"`
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
	ID      string `json:"id"`
}

// Permitted is a permission.
type Permitted struct{}

// Status is how a node is.
type Status struct {
	Role             string   `json:"role"` // node or validator
	PeerID           string   `json:"peer_id"`
	Identity         string   `json:"identity"`
	Network          string   `json:"network,omitempty"`
	NetworkName      string   `json:"network_name,omitempty"`
	Record           string   `json:"record,omitempty"` // the newest committee record
	RootEpoch        uint64   `json:"root_epoch"`
	Version          uint64   `json:"version,omitempty"`
	Expires          string   `json:"expires,omitempty"`
	Proofs           int      `json:"proofs,omitempty"` // that a validator, here still or not, signed two committee records
	Home             string   `json:"home"`
	Running          bool     `json:"running"`
	Addresses        []string `json:"addrs"`
	Peers            int      `json:"peers"`
	Banned           int      `json:"banned,omitempty"`       // peers that are barred for a while
	MemberUntil      string   `json:"member_until,omitempty"` // of a node: when its membership ends unless it is renewed
	Objects          int      `json:"objects"`
	Bytes            uint64   `json:"bytes"`                  // ciphertext of the objects
	FreshnessSeconds *float64 `json:"freshness_seconds"`      // age of the T-th newest answer; null: too few answers
	Outbox           int      `json:"outbox"`                 // deposits that some validator still lacks, and orders to erase that go on
	Pending          int      `json:"pending"`                // grants given that wait for a person at validators
	Desk             int      `json:"desk"`                   // grants and roles that wait for this validator's person
	Rotating         int      `json:"rotating"`               // of a validator: deposits that still have shares of older committees
	Settled          bool     `json:"settled"`                // of a validator: it holds shares of the newest committee only
	Erasing          int      `json:"erasing"`                // orders to erase that too few validators have carried out
	ErasingSays      string   `json:"erasing_says,omitempty"` // how far they are
	Carried          int      `json:"carried"`                // objects of others that this home mirrors; Objects counts them too
	Replicated       int      `json:"replicated"`             // targets of replication
	UnderReplicated  []Short  `json:"under_replicated"`       // those of them with fewer copies than wanted
	AuditEntries     int64    `json:"audit_entries"`
	AuditLost        int64    `json:"audit_lost,omitempty"` // of them, what they are about is lost
	Healthy          bool     `json:"healthy"`
	Problems         []string `json:"problems,omitempty"`

	Witnessed *Witnessed `json:"witnessed,omitempty"` // how far the audit log is; null: without a network
	Forks     []Fork     `json:"forks,omitempty"`     // audit logs with evidence against them
	Syslog    *Syslog    `json:"syslog,omitempty"`    // null: no server is configured, or the node does not run
}

// Witnessed is how far an audit log is witnessed by the validators.
type Witnessed struct {
	Cosigned      int64    `json:"cosigned"`       // entries under the newest checkpoint that a quorum cosigned; 0: none
	Have          int      `json:"have"`           // validators of the newest record that cosigned it
	Need          int      `json:"need"`           // that make a quorum
	Of            int      `json:"of"`             // that there are
	AgeSeconds    *float64 `json:"age_seconds"`    // since a quorum had cosigned it; null: none has
	BehindSeconds float64  `json:"behind_seconds"` // for how long entries have waited for a quorum
	Refused       []string `json:"refused,omitempty"`
	Restored      string   `json:"restored,omitempty"` // of a validator: when it noticed last that it cosigns from an old copy
}

// Fork is an audit log that showed two histories.
type Fork struct {
	PeerID string `json:"peer_id"` // whose log it is
	Says   string `json:"says"`
}

// Short is a target of replication that lacks copies.
type Short struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`
	Healthy int    `json:"healthy"`
	Copies  int    `json:"copies"`
}

// Peers are the connected members, and those that are barred.
type Peers struct {
	Peers  []Peer   `json:"peers"`
	Banned []Banned `json:"banned,omitempty"`
}

// Peer is one connected member.
type Peer struct {
	ID        string `json:"peer_id"`
	Role      string `json:"role"`
	Address   string `json:"address"`
	Direction string `json:"direction"`
}

// AddRequest asks to add one thing.
type AddRequest struct {
	Path   string            `json:"path,omitempty"` // absolute
	Name   string            `json:"name,omitempty"` // of a stream
	As     string            `json:"as,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Update string            `json:"update,omitempty"` // address of the version that it follows; Labels then are the old ones where there are none
	Op     string            `json:"op,omitempty"`     // names the operation for Progress
	Origin *Origin           `json:"origin,omitempty"` // of a file that is a release; logged as one
}

// Origin says what a release of a table was made of, and how. Who may read the object
// sees it, validators do not.
type Origin struct {
	Source string `json:"source"` // SHA-256 of the table, in hex
	Method string `json:"method"` // the guarantee and how it was reached
	Report string `json:"report"` // address of the report
}

// ProgressRequest names an operation under way.
type ProgressRequest struct {
	Op string `json:"op"`
}

// Progress is how many plaintext bytes are done; Total is 0 while unknown.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Deposits counts acknowledgements of an add.
type Deposits struct {
	Acknowledged int  `json:"acknowledged"`
	Of           int  `json:"of"`
	Safe         bool `json:"safe"` // against F losses: T+F have acknowledged
}

// Added says what add made.
type Added struct {
	Address    string   `json:"address"`
	File       string   `json:"file"` // UnixFS CID
	Size       int64    `json:"size"`
	StoredSize int64    `json:"stored_size"`
	Files      int      `json:"files"`
	Directory  bool     `json:"directory,omitempty"`
	Deposits   Deposits `json:"deposits"`
	State      string   `json:"state"` // shared or local
	Sequence   uint64   `json:"sequence,omitempty"`
	Previous   string   `json:"previous,omitempty"` // address of the version that it follows
	Skipped    []string `json:"skipped,omitempty"`
	Seconds    float64  `json:"seconds"`
}

// GetRequest asks for an object's content.
type GetRequest struct {
	Address string `json:"address"`
	Into    string `json:"into,omitempty"` // absolute: an empty file, and beside it a free name for a folder
	First   int64  `json:"first,omitempty"`
	Last    int64  `json:"last,omitempty"`
	Ranged  bool   `json:"ranged,omitempty"`
	Latest  bool   `json:"latest,omitempty"` // the newest version of the object instead
	As      string `json:"as,omitempty"`
	Purpose string `json:"purpose,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Op      string `json:"op,omitempty"` // names the operation for Progress
}

// Got says what get did.
type Got struct {
	Address   string   `json:"address"` // of the version that was read
	Size      int64    `json:"size"`
	From      []string `json:"from"`     // peers that sent ciphertext; "local" for this home
	Releases  []int    `json:"releases"` // validators, from 1, that released a share
	Liars     []int    `json:"liars,omitempty"`
	Seconds   float64  `json:"seconds"`
	Directory bool     `json:"directory,omitempty"`
	Name      string   `json:"name,omitempty"`
	Files     int      `json:"files,omitempty"`
	Origin    *Origin  `json:"origin,omitempty"` // of a release
}

// RekeyRequest names the newest version of an object of this home.
type RekeyRequest struct {
	Address string `json:"address"`
	Op      string `json:"op,omitempty"` // names the operation for Progress
}

// Rekeyed says what rekey made.
type Rekeyed struct {
	Address  string   `json:"address"`
	Old      string   `json:"old"`
	Sequence uint64   `json:"sequence"`
	Deposits Deposits `json:"deposits"`
	State    string   `json:"state"`          // shared or local
	Retired  bool     `json:"retired"`        // the old version
	Erased   bool     `json:"erased"`         // the key of the old version, at enough validators
	Kept     string   `json:"kept,omitempty"` // why it is not
	Seconds  float64  `json:"seconds"`
}

// Objects are what the home holds.
type Objects struct {
	Objects []Object `json:"objects"`
}

// Object is one of them.
type Object struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"` // of owned objects
	Size    int64  `json:"size"`
	Stored  int64  `json:"stored_size"`
	Owned   bool   `json:"owned"`
	Kind    string `json:"kind,omitempty"` // file or directory
	State   string `json:"state"`          // shared, local, conflict, retired, erased, held or carried
	Added   string `json:"added"`
	Pinned  bool   `json:"pinned"`

	SupersededBy string `json:"superseded_by,omitempty"` // address of the version made here that follows
}

// InfoRequest names an object.
type InfoRequest struct {
	Address string `json:"address"`
}

// Info is what a home knows about an object.
type Info struct {
	Object
	Owner     string   `json:"owner"`
	Network   string   `json:"network"`
	File      string   `json:"file"`
	Header    string   `json:"header"`
	Payload   string   `json:"payload"`
	KeyID     string   `json:"key_id"`
	Lineage   string   `json:"lineage"`
	Sequence  uint64   `json:"sequence"`
	Previous  string   `json:"previous,omitempty"` // address of the version before
	Scopes    []string `json:"scopes,omitempty"`
	Created   string   `json:"created"`
	MediaType string   `json:"media_type,omitempty"`
	Origin    *Origin  `json:"origin,omitempty"`

	// What follows stands in labels, which a home knows of its own objects alone: absent
	// means that they are not known here, and an empty map that there are none.
	Labels         map[string]string `json:"labels,omitzero"`
	Classification *int              `json:"classification,omitempty"`
	Retention      *Retention        `json:"retention,omitempty"` // absent too where its labels set none
	Residency      []string          `json:"residency,omitempty"` // regions; none: anywhere

	Holds []string `json:"holds,omitempty"` // legal ones in force that this home knows of: what `hold release` takes
}

// Retention is what an object's labels say of how long it is kept.
type Retention struct {
	Mode   string `json:"mode,omitempty"`      // compliance or governance
	Until  string `json:"until,omitempty"`     // nobody erases it before, but for the role in the mode governance
	Expire string `json:"expire_at,omitempty"` // when its owner's node erases it
	Says   string `json:"says"`                // in words
}

// VerifyRequest names an object, or nothing for everything.
type VerifyRequest struct {
	Address string `json:"address,omitempty"`
}

// Verified says what was checked.
type Verified struct {
	Checked int      `json:"checked"`
	Bad     []string `json:"bad"`
}

// ExportRequest asks for a file in a format that stock tools read.
type ExportRequest struct {
	Address string   `json:"address"`
	Format  string   `json:"format"` // age or car
	Into    string   `json:"into"`   // absolute, an empty file
	To      []string `json:"to,omitempty"`
}

// Exported says what was written.
type Exported struct {
	File string `json:"file"` // path
	CID  string `json:"cid,omitempty"`
	Size int64  `json:"size"`
}

// ImportRequest names a CAR file by its absolute path.
type ImportRequest struct {
	Path string `json:"path"`
}

// Imported says what the home holds now.
type Imported struct {
	Address string `json:"address"`
	File    string `json:"file"`
}

package event

import (
	"maps"
	"slices"
)

// Action is Cerebrum's word for what was asked. The table of them is closed: an
// event with another one is refused, so that nothing about a person gets into a
// leaf by this way.
type Action string

// Actions on objects.
const (
	Add         Action = "add"       // an object was encrypted and stored
	Get         Action = "get"       // a person here read an object
	Range       Action = "get-range" // a part of one
	Serve       Action = "serve"     // blocks were given to a peer
	List        Action = "list"      // a peer was told what a grant covers
	Latest      Action = "latest"    // a validator told of the newest version
	Rekey       Action = "rekey"     // the same content under a new key
	Retire      Action = "retire"    // a version, or shares of older committees, were given up
	Import      Action = "import"
	Export      Action = "export"
	Retain      Action = "retain"  // the owner changed how long an object is kept
	Erase       Action = "erase"   // the owner's order
	Destroy     Action = "destroy" // shares of erased keys, at a validator
	Drop        Action = "drop"    // blocks here: of what was erased, or of nothing that is listed
	Mirror      Action = "mirror"
	Unmirror    Action = "unmirror"
	Offer       Action = "offer" // to carry for others
	Replicate   Action = "replicate"
	Unreplicate Action = "unreplicate"
	Carry       Action = "carry" // a mirror named itself at a validator
)

// Actions on keys and rights.
const (
	Deposit     Action = "deposit" // shares of a key were taken in
	Reshare     Action = "re-share"
	Release     Action = "release" // a share of a key was given out
	GrantIssue  Action = "grant"
	Delegate    Action = "delegate"
	Request     Action = "request" // under a standing consent
	Accept      Action = "accept"  // a grant that came to its holder
	Deliver     Action = "deliver" // a grant into a mailbox
	Approve     Action = "approve" // a person at a validator decided on a grant
	Consent     Action = "consent" // a standing consent
	ConsentFind Action = "consent-find"
	Mailbox     Action = "mailbox" // who holds grants asked for them
	Revoke      Action = "revoke"
	Role        Action = "role"
	RoleEnd     Action = "role-end"
)

// Actions on the network and on the node.
const (
	Hold         Action = "hold" // a legal hold was placed
	HoldRelease  Action = "hold-release"
	HoldKeep     Action = "hold-keep" // a validator took a hold in
	HoldLook     Action = "hold-look" // an officer looked at what may be held
	PolicyChange Action = "policy"
	PolicySign   Action = "policy-sign"
	Committee    Action = "committee"
	Invite       Action = "invite"
	InviteRevoke Action = "invite-revoke"
	Admit        Action = "admit" // an invitation was redeemed
	Renew        Action = "renew" // a membership
	Remove       Action = "remove-member"
	Ban          Action = "ban" // a peer that broke rules, for a while
	Identity     Action = "identity"
	Forget       Action = "forget" // a person in this log
	Prune        Action = "prune"  // entries of this log that were archived are removed
	Configure    Action = "configure"
	Witness      Action = "witness" // a validator cosigned a checkpoint of another log
	Start        Action = "start"
	Stop         Action = "stop"
	Anonymise    Action = "anonymise"
	ModelDeploy  Action = "model-deploy"
	ModelRun     Action = "model-run"
)

// Type is an OCSF type_uid: class_uid * 100 + activity_id.
type Type uint32

// Class is the OCSF class_uid.
func (t Type) Class() int { return int(t / 100) }

// Activity is the OCSF activity_id.
func (t Type) Activity() int { return int(t % 100) }

// OCSF 1.8.0 classes that are used.
const (
	lifecycle   = 600200 // Application Lifecycle
	api         = 600300 // API Activity
	datastore   = 600500 // Datastore Activity
	fileHosting = 600600 // File Hosting Activity
	entity      = 300400 // Entity Management
	userAccess  = 300500 // User Access Management
)

// types is the table. A word keeps its type for ever: leaves hold both.
var types = map[Action]Type{
	Add: datastore + 6, Get: datastore + 1, Range: datastore + 1, List: datastore + 8, Latest: datastore + 4, Rekey: datastore + 9, Retain: datastore + 2,
	Retire: datastore + 7, Erase: datastore + 7, Destroy: datastore + 7, Drop: datastore + 7,
	Deposit: datastore + 5, Reshare: datastore + 2, Release: datastore + 10, HoldLook: datastore + 4, ConsentFind: datastore + 4, Mailbox: datastore + 8,

	Serve: fileHosting + 2, Import: fileHosting + 1, Replicate: fileHosting + 6, Mirror: fileHosting + 15, Carry: fileHosting + 15,
	Unmirror: fileHosting + 16, Unreplicate: fileHosting + 16, Offer: fileHosting + 12, Deliver: fileHosting + 12, Accept: fileHosting + 17,

	Export: api + 2, Prune: api + 4, Witness: api + 1, Anonymise: api + 1, ModelRun: api + 1,

	GrantIssue: userAccess + 1, Delegate: userAccess + 1, Request: userAccess + 1, Approve: userAccess + 1, Role: userAccess + 1,
	Revoke: userAccess + 2, RoleEnd: userAccess + 2,

	Consent: entity + 1, Hold: entity + 1, HoldKeep: entity + 1, HoldRelease: entity + 4, PolicyChange: entity + 3, PolicySign: entity + 3,
	Committee: entity + 3, Invite: entity + 1, InviteRevoke: entity + 4, Admit: entity + 6, Renew: entity + 8, Remove: entity + 7,
	Ban: entity + 12, Identity: entity + 3, Forget: entity + 4, Configure: entity + 3,

	Start: lifecycle + 3, Stop: lifecycle + 4, ModelDeploy: lifecycle + 1,
}

// Type is the OCSF type of an action; ok is false where the table does not have it.
func (a Action) Type() (t Type, ok bool) {
	t, ok = types[a]
	return t, ok
}

// Actions are all of the table, sorted.
func Actions() []Action { return slices.Sorted(maps.Keys(types)) }

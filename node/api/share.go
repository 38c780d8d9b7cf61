package api

// GrantRequest asks for a grant, or with Parent for a delegation.
type GrantRequest struct {
	Address     string   `json:"address,omitempty"`
	Parent      string   `json:"parent,omitempty"` // id of a grant that is held
	To          string   `json:"to"`               // a contact
	Can         string   `json:"can"`
	Seconds     int64    `json:"seconds"`
	ThisVersion bool     `json:"this_version,omitempty"`
	Purposes    []string `json:"purposes,omitempty"`
	MaxClass    *int     `json:"max_class,omitempty"` // highest classification, 0 to 255; none: any, or the parent's
	Regions     []string `json:"regions,omitempty"`   // none: any, or the parent's
	Depth       int      `json:"depth,omitempty"`
	Offline     bool     `json:"offline,omitempty"`
	Reason      string   `json:"reason,omitempty"` // for policy and for the person who decides
	As          string   `json:"as,omitempty"`
}

// Granted is a grant or link that was made or accepted.
type Granted struct {
	Grant      string `json:"grant"`
	Expires    string `json:"expires"`
	Signatures int    `json:"signatures"`
	State      string `json:"state"` // granted or pending
	Token      string `json:"token,omitempty"`
}

// AcceptRequest carries a grant by hand.
type AcceptRequest struct {
	Token string `json:"token"`
	As    string `json:"as,omitempty"`
}

// GrantsRequest asks for what an identity holds or gave.
type GrantsRequest struct {
	Issued bool   `json:"issued"`
	As     string `json:"as,omitempty"`
}

// Grants are grants.
type Grants struct {
	Grants []GrantInfo `json:"grants"`
}

// GrantInfo is a grant in words.
type GrantInfo struct {
	Grant    string   `json:"grant"`
	Owner    string   `json:"owner"`
	Audience string   `json:"audience"`
	Target   string   `json:"target"`            // version, lineage or scope
	Address  string   `json:"address,omitempty"` // what its issuer had in mind
	Can      string   `json:"can"`
	Expires  string   `json:"expires"`
	Depth    int      `json:"depth"`
	Links    int      `json:"links"`
	Purposes []string `json:"purposes,omitempty"`
	State    string   `json:"state"`            // valid, early, expired or revoked; of those given also pending or denied
	Reason   string   `json:"reason,omitempty"` // of a denial
}

// GrantShowRequest names one grant that an identity of this home holds or gave.
type GrantShowRequest struct {
	ID string `json:"id"`           // or the first digits of it
	As string `json:"as,omitempty"` // of this identity; none: of any
}

// GrantsShown is the one grant that was asked for.
type GrantsShown struct {
	Grants []GrantShown `json:"grants"`
}

// GrantShown is a grant with all that it rests on.
type GrantShown struct {
	GrantInfo
	Why        string      `json:"why"`        // it is in this state
	Validators []int       `json:"validators"` // from 1, that signed the grant at its root
	Need       int         `json:"need"`       // of them; 0: the record is not known here
	Of         int         `json:"of"`
	Record     string      `json:"record"` // committee record whose validators they are
	RootEpoch  uint64      `json:"root_epoch"`
	Version    uint64      `json:"version"`
	Consent    string      `json:"consent"`            // id of the owner's
	Standing   bool        `json:"standing,omitempty"` // which was given beforehand
	Chain      []GrantLink `json:"chain"`              // from the owner's grant to the holder's
	Says       []string    `json:"says"`               // all of it in words, a sentence a line
}

// GrantLink is the grant at the root of a chain, or a link that hands it on.
type GrantLink struct {
	ID          string   `json:"id"`
	From        string   `json:"from"`
	FromName    string   `json:"from_name,omitempty"` // by which this home knows the identity
	To          string   `json:"to"`
	ToName      string   `json:"to_name,omitempty"`
	Can         string   `json:"can"`
	Target      string   `json:"target"` // version, lineage or scope
	Depth       int      `json:"depth"`  // how many links may follow
	NotBefore   string   `json:"not_before"`
	Expires     string   `json:"expires"`
	Purposes    []string `json:"purposes,omitempty"`
	MaxClass    *int     `json:"max_class,omitempty"`
	Regions     []string `json:"regions,omitempty"`
	Attestation []string `json:"attestation,omitempty"` // measurements
	Offline     bool     `json:"offline,omitempty"`
}

// RevokeRequest names a grant or link that this home owns or issued.
type RevokeRequest struct {
	Grant  string `json:"grant"`
	Reason string `json:"reason,omitempty"`
	As     string `json:"as,omitempty"`
}

// Revoked says what a revocation reached.
type Revoked struct {
	Revoked        string   `json:"revoked"`
	Acks           int      `json:"acks"`
	Seconds        float64  `json:"seconds"`
	HoldersStopped int      `json:"holders_stopped"`
	HoldersKnown   int      `json:"holders_known"`
	Residue        []string `json:"residue"`
}

// EraseRequest names an object of this home: all its versions are meant, or with
// ThisVersion one. A directory means all that is in it.
type EraseRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Override    bool   `json:"override,omitempty"` // a retention in the mode governance, for the reason
}

// Erased says how far an erasure is.
type Erased struct {
	Address    string       `json:"address"`
	Erased     bool         `json:"erased"` // at so many validators that nobody gets a key any more
	Objects    int          `json:"objects"`
	Validators []int        `json:"validators"` // from 1, that have destroyed their shares of all
	Need       int          `json:"need"`       // of them
	Of         int          `json:"of"`
	Held       []int        `json:"held,omitempty"` // from 1, that refuse because of a legal hold
	Orders     []EraseOrder `json:"orders"`
	Receipts   [][]byte     `json:"receipts"` // signed
	Residue    []string     `json:"residue"`
}

// EraseOrder is a signed order, for those who check receipts.
type EraseOrder struct {
	Statement []byte   `json:"statement"`
	Identity  []byte   `json:"identity"` // document of the owner
	Addresses []string `json:"addresses"`
}

// HoldRequest names an object by its address, and why nothing of it may be
// destroyed. It need not be in this home.
type HoldRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"`
	Directory   bool   `json:"directory,omitempty"` // what it belongs to, with all that is in it
	Reason      string `json:"reason,omitempty"`
	As          string `json:"as,omitempty"`
}

// UnholdRequest names a hold to end.
type UnholdRequest struct {
	Hold   string `json:"hold"`
	Reason string `json:"reason,omitempty"`
	As     string `json:"as,omitempty"`
}

// Held is a hold that was placed or ended.
type Held struct {
	Hold string `json:"hold"`
	Acks int    `json:"acks"`
	Of   int    `json:"of"`
}

// Holds are the holds in force that this node knows of.
type Holds struct {
	Holds []Hold `json:"holds"`
}

// Hold is a legal hold.
type Hold struct {
	Hold    string `json:"hold"`
	On      string `json:"on"`     // key, lineage or scope
	Target  string `json:"target"` // its id
	Owner   string `json:"owner"`
	Officer string `json:"officer"`
	Since   string `json:"since"`
	Reason  string `json:"reason"` // SHA-256 of the order
}

package api

import (
	"context"
	"net/http"
)

// Compliance are the verbs by which an organisation answers for what its node did.
type Compliance interface {
	// SubjectExport writes what this node knows of a person into a file that exists
	// and is empty. It is logged like other acts.
	SubjectExport(ctx context.Context, r SubjectExportRequest) (*SubjectExported, error)
	// SubjectForget destroys what this node keeps of a person and may destroy. A
	// legal hold on what the person owns, or on what log entries about the person
	// are of, forbids it.
	SubjectForget(ctx context.Context, r SubjectForgetRequest) (*SubjectForgotten, error)
	// Retain changes how long an object of this home is kept: longer, or stricter. In
	// the mode governance an owner with the role for it shortens it too.
	Retain(ctx context.Context, r RetainRequest) (*Retained, error)
	// AccessReview lists the grants in force that this home's identities gave, with
	// those handed on below them, by holder.
	AccessReview(ctx context.Context, r AccessReviewRequest) (*AccessReview, error)
	// ProcessingRecords is a register of what is processed under whose grants.
	ProcessingRecords(ctx context.Context) (*ProcessingRecords, error)
}

func complianceVerbs(m *http.ServeMux, v Compliance) {
	verb(m, "subject-export", v.SubjectExport)
	verb(m, "subject-forget", v.SubjectForget)
	verb(m, "retain", v.Retain)
	verb(m, "access-review", v.AccessReview)
	verb(m, "processing-records", func(ctx context.Context, _ struct{}) (*ProcessingRecords, error) { return v.ProcessingRecords(ctx) })
}

// RetainRequest names an object of this home: all its versions are meant, or with
// ThisVersion one. A directory means all that is in it.
type RetainRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"`
	Until       int64  `json:"until"`            // Unix seconds
	Mode        string `json:"mode,omitempty"`   // governance or compliance; empty: as it is
	Expire      int64  `json:"expire,omitempty"` // Unix seconds; 0: as it is
	Reason      string `json:"reason,omitempty"`
}

// Retained says how long an object is kept now.
type Retained struct {
	Address  string   `json:"address"`
	Objects  int      `json:"objects"`
	Mode     string   `json:"mode"`
	Until    string   `json:"until"`
	Deposits Deposits `json:"deposits"` // who has taken it so far; the others get it later
}

// SubjectExportRequest names a person by a contact, an id, a name of this home, or a
// pseudonym of this node's log, and the file to write.
type SubjectExportRequest struct {
	Subject string `json:"subject"`
	Format  string `json:"format"` // zip or json
	Into    string `json:"into"`   // absolute, an empty file
}

// SubjectPart is a part of the file.
type SubjectPart struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// SubjectExported says what was written.
type SubjectExported struct {
	File       string        `json:"file"`
	Subject    string        `json:"subject"`    // id, or pseudonym where the person is not known any more
	Events     int           `json:"events"`     // log entries that concern the person
	Proved     int           `json:"proved"`     // of them, with a proof
	Withheld   int           `json:"withheld"`   // claims about other persons in them
	Objects    int           `json:"objects"`    // owned by the person
	Grants     int           `json:"grants"`     // to and from the person
	Consents   int           `json:"consents"`   // of the person
	Parts      []SubjectPart `json:"parts"`      // with SHA-256
	Recipients int           `json:"recipients"` // who got, or may get, what the person owns
	NotKnown   []string      `json:"not_known"`  // what the file cannot say, in words
}

// SubjectForgetRequest names a person as [SubjectExportRequest] does.
type SubjectForgetRequest struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason,omitempty"` // in the log; of no person
}

// SubjectForgotten says what was destroyed and what stays.
type SubjectForgotten struct {
	Subject  string   `json:"subject"`
	Known    bool     `json:"known"`    // the log knew the person
	Events   int      `json:"events"`   // whose claims about the person are destroyed
	Grants   int      `json:"grants"`   // stored here, over, and deleted
	Receipts int      `json:"receipts"` // of validators, that named the person, and deleted
	Damaged  int      `json:"damaged"`  // receipts that cannot be read, so that they may have named the person, and deleted
	Remains  []string `json:"remains"`
}

// AccessReviewRequest narrows a review; with neither, all grants in force are listed.
type AccessReviewRequest struct {
	ExpiringSeconds int64  `json:"expiring_seconds,omitempty"` // those that end within
	UnusedSeconds   int64  `json:"unused_seconds,omitempty"`   // those without a use that the log here knows for so long
	All             bool   `json:"all,omitempty"`              // of a validator: whoever gave them
	As              string `json:"as,omitempty"`
}

// AccessReview are grants in force by holder.
type AccessReview struct {
	Made     string         `json:"made"`
	Holders  []AccessHolder `json:"holders"`
	Grants   int            `json:"grants"`
	Expiring int            `json:"expiring"`
	Unused   int            `json:"unused"`
	NotKnown []string       `json:"not_known"`
}

// AccessHolder is who holds grants.
type AccessHolder struct {
	Identity string        `json:"identity"`
	Name     string        `json:"name,omitempty"` // of an identity of this home
	Grants   []AccessGrant `json:"grants"`
}

// AccessGrant is a grant in force.
type AccessGrant struct {
	Grant     string   `json:"grant"` // what `revoke` takes
	Owner     string   `json:"owner"`
	Parent    string   `json:"parent,omitempty"` // it was handed on under that one
	Target    string   `json:"target"`
	Address   string   `json:"address,omitempty"`
	Name      string   `json:"name,omitempty"` // of the object, where this home can read it
	Can       string   `json:"can"`
	Purposes  []string `json:"purposes,omitempty"`
	Regions   []string `json:"regions,omitempty"`
	MaxClass  *int     `json:"max_class,omitempty"` // none: any
	Expires   string   `json:"expires"`
	Expiring  bool     `json:"expiring"`            // within the time asked for
	LastUse   string   `json:"last_use,omitempty"`  // that this node's log knows
	Uses      int      `json:"uses"`                // likewise
	Unused    bool     `json:"unused"`              // for the time asked for
	Offline   bool     `json:"offline,omitempty"`   // its holder may keep the key
	Delegated []string `json:"delegated,omitempty"` // grants below it
	MayHandOn int      `json:"may_hand_on,omitempty"`
	Consent   string   `json:"consent,omitempty"` // the standing consent that it rests on
}

// ProcessingRecords is a register in the sense of Article 30 GDPR, as far as a node
// can know it.
type ProcessingRecords struct {
	Made     string             `json:"made"`
	Node     string             `json:"node"`
	Network  string             `json:"network"`
	Records  []ProcessingRecord `json:"records"`
	Measures []string           `json:"measures"` // technical ones, of all records
	NotKnown []string           `json:"not_known"`
}

// ProcessingRecord is one object, or what one lineage's versions are, and who may do
// what with it for which purposes.
type ProcessingRecord struct {
	Object         string   `json:"object"` // address of the newest version here
	Name           string   `json:"name,omitempty"`
	Controller     string   `json:"controller"` // its owner
	Categories     []string `json:"categories"` // labels of the object
	Classification int      `json:"classification"`
	Purposes       []string `json:"purposes"`   // of grants in force
	Recipients     []string `json:"recipients"` // of grants in force
	// PastRecipients had a grant that is over, or read it as this node's log knows, and
	// have no grant in force.
	PastRecipients []PastRecipient `json:"past_recipients"`
	Regions        []string        `json:"regions"`   // where recipients must be; empty: anywhere
	Transfers      string          `json:"transfers"` // in words
	Retention      string          `json:"retention"` // in words
	Created        string          `json:"created"`
	Versions       int             `json:"versions"` // that are here; of what is erased: that were
	Releases       int             `json:"releases"` // reads that this node's log knows
	LastAccess     string          `json:"last_access,omitempty"`
	Erased         bool            `json:"erased"`              // by its owner's order, every version known here
	ErasedAt       string          `json:"erased_at,omitempty"` // time of the last order, where it is known here
}

// PastRecipient is somebody to whom an object may have been disclosed.
type PastRecipient struct {
	Identity string `json:"identity"`
	LastRead string `json:"last_read,omitempty"` // that this node's log knows
}

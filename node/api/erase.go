package api

// EraseRequest names an object of this home: all its versions are meant, or with
// ThisVersion one. A directory means all that is in it.
type EraseRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"`
	Reason      string `json:"reason,omitempty"`
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

package api

// ConsentRequest agrees to grants on an object to identities or to the holders of
// a role.
type ConsentRequest struct {
	Address      string   `json:"address"`
	To           []string `json:"to,omitempty"`   // contacts, identity ids or identities of this home
	Role         string   `json:"role,omitempty"` // instead of To
	Can          string   `json:"can"`
	Seconds      int64    `json:"seconds"`       // that one grant may last
	UntilSeconds int64    `json:"until_seconds"` // from now, until all ends
	Purposes     []string `json:"purposes,omitempty"`
	MaxClass     *int     `json:"max_class,omitempty"` // highest classification, 0 to 255; none: any
	Regions      []string `json:"regions,omitempty"`   // none: any
	Depth        int      `json:"depth,omitempty"`     // how many times what is granted may be handed on
	ThisVersion  bool     `json:"this_version,omitempty"`
	As           string   `json:"as,omitempty"`
}

// Consented is a standing consent that was given.
type Consented struct {
	Consent string `json:"consent"`
	Until   string `json:"until"`
	Kept    int    `json:"kept"` // validators that keep it
	Of      int    `json:"of"`
}

// ConsentsRequest asks for the standing consents of an identity of this home.
type ConsentsRequest struct {
	As string `json:"as,omitempty"`
}

// Consents are standing consents.
type Consents struct {
	Consents []ConsentInfo `json:"consents"`
}

// ConsentInfo is one of them.
type ConsentInfo struct {
	Consent  string   `json:"consent"`
	Target   string   `json:"target"` // version, lineage or scope
	To       []string `json:"to,omitempty"`
	Role     string   `json:"role,omitempty"`
	Can      string   `json:"can"`
	Purposes []string `json:"purposes,omitempty"`
	MaxClass *int     `json:"max_class,omitempty"` // none: any
	Regions  []string `json:"regions,omitempty"`
	Depth    int      `json:"depth,omitempty"`
	Seconds  int64    `json:"seconds"` // that one grant may last
	Until    string   `json:"until"`
	State    string   `json:"state"` // valid, expired or revoked
}

// AccessRequest asks for a grant to oneself under a standing consent.
type AccessRequest struct {
	Address  string   `json:"address"`
	Can      string   `json:"can"`
	Seconds  int64    `json:"seconds"`
	Purposes []string `json:"purposes,omitempty"`
	Depth    int      `json:"depth,omitempty"`  // how many times it may be handed on
	Reason   string   `json:"reason,omitempty"` // for policy and for the person who decides
	As       string   `json:"as,omitempty"`
}

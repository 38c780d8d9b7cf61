package api

// EnrolRequest asks to prepare this home as a device of an identity.
type EnrolRequest struct {
	Contact string `json:"contact"`
	Name    string `json:"name"` // of the identity in this home
}

// Enrolled is what the new device asks for.
type Enrolled struct {
	Identity string `json:"identity"`
	Name     string `json:"name"`
	Device   string `json:"device"`  // fingerprint
	Request  string `json:"request"` // one line, for `id add-device`
}

// DevicesRequest names an identity of this home; empty: the default.
type DevicesRequest struct {
	As string `json:"as,omitempty"`
}

// Devices are those that speak or spoke for an identity.
type Devices struct {
	Identity   string   `json:"identity"`
	Name       string   `json:"name"`
	Recoveries int      `json:"recoveries"`
	Devices    []Device `json:"devices"`
}

// Device is one of them. Times are what its records say: a thief writes any.
type Device struct {
	Device  string `json:"device"` // fingerprint
	This    bool   `json:"this"`
	State   string `json:"state"`             // current, removed, or asking
	Added   string `json:"added,omitempty"`   // empty: with the identity, or at a recovery
	By      string `json:"by,omitempty"`      // fingerprint of who added it
	Removed string `json:"removed,omitempty"` // when it removed itself; empty where a recovery ended it
}

// AddDeviceRequest takes in a device by its request.
type AddDeviceRequest struct {
	Request string `json:"request"`
	As      string `json:"as,omitempty"`
}

// AdoptIdentityRequest carries an identity's contact to a device that asked.
type AdoptIdentityRequest struct {
	Contact string `json:"contact"`
}

// RemoveDeviceRequest removes this device; Device, where given, must be this one.
type RemoveDeviceRequest struct {
	Device string `json:"device,omitempty"` // fingerprint
	As     string `json:"as,omitempty"`
}

// RecoverRequest starts an identity again with this home's device alone.
type RecoverRequest struct {
	Contact string   `json:"contact,omitempty"` // of an identity that this home does not have
	Name    string   `json:"name,omitempty"`    // of the identity in this home
	Secret  string   `json:"secret"`            // the recovery secret
	Next    string   `json:"next"`              // hex: the public key of the next one, which its maker has kept already
	Keep    []string `json:"keep,omitempty"`    // fingerprints of devices that stay
	Check   bool     `json:"check,omitempty"`   // find out whether it would work, and change nothing
}

// Published says what came of a record of an identity.
type Published struct {
	Identity string `json:"identity"`
	Name     string `json:"name"`
	Record   string `json:"record,omitempty"` // id; empty where none was needed
	Device   string `json:"device"`           // fingerprint of whom it is about
	Acks     int    `json:"acks"`
	Needed   int    `json:"needed"`
	Of       int    `json:"of"`
	State    string `json:"state"` // effective; waiting: the outbox goes on; adopted; checked
	Contact  string `json:"contact"`
}

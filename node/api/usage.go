package api

// Usage is what peers make this node hold, against its limits.
type Usage struct {
	// Pending are connections that wait for their admission.
	Pending int `json:"pending"`
	// Tripped counts streams of connections that were never admitted: anything but 0
	// is a bug.
	Tripped uint64 `json:"tripped"`
	// Scopes are the system, what is transient, services, protocols and peers, in
	// this order.
	Scopes []UsageScope `json:"scopes"`
}

// UsageScope is what something, or a peer, makes this node hold.
type UsageScope struct {
	Kind        string `json:"kind"` // system, transient, service, protocol or peer
	Name        string `json:"name,omitempty"`
	Role        string `json:"role,omitempty"` // of a peer
	Connections Use    `json:"connections"`
	StreamsIn   Use    `json:"streams_in"`
	StreamsOut  Use    `json:"streams_out"`
	Memory      Use    `json:"memory"` // bytes
	// StreamsInPerPeer is how many streams of a service or protocol one peer may open.
	StreamsInPerPeer int64 `json:"streams_in_per_peer,omitempty"`
}

// Use is how much is used, and how much may be.
type Use struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
}

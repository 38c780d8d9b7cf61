package daemon

import (
	"encoding/hex"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// parseOrigin reads the origin of a release that is added, zero where none is.
func parseOrigin(r api.AddRequest) (o envelope.Origin, err error) {
	if r.Origin == nil {
		return o, nil
	}
	if r.Update != "" {
		return o, fault.New(fault.Usage, "add it as an object of its own", "a release is not a new version of another object")
	}
	source, err := hex.DecodeString(r.Origin.Source)
	if err != nil || len(source) != len(o.Source) {
		return o, fault.New(fault.Usage, "", "the source of a release is named by its SHA-256 in hex")
	}
	if _, err := parseAddress(r.Origin.Report); err != nil {
		return o, err
	}
	if m := len(r.Origin.Method); m == 0 || m > envelope.MaxOrigin {
		return o, fault.New(fault.Usage, "", "the method of a release is 1 to %d bytes", envelope.MaxOrigin)
	}
	return envelope.Origin{Source: [32]byte(source), Method: r.Origin.Method, Report: r.Origin.Report}, nil
}

func originShown(o envelope.Origin) *api.Origin {
	if o == (envelope.Origin{}) {
		return nil
	}
	return &api.Origin{Source: hex.EncodeToString(o.Source[:]), Method: o.Method, Report: o.Report}
}

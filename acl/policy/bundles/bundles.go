// Package bundles holds policies to start from: whole bundles with a guide for
// the operator of a validator, who copies one, changes it and proposes it.
//
//	research-room   a data room: purposes, classes by role, opening hours
//	hospital        treatment by role, break-glass, auditors apart
//	agent-team      persons who supervise agents that have limits
//
//	b, err := bundles.Load("hospital")
//	next := history.Follow(b, from)
package bundles

import (
	"embed"
	"io/fs"

	"cerebrum.dev/cerebrum/acl/policy"
)

//go:embed research-room hospital agent-team
var files embed.FS

// Names are the bundles that there are.
func Names() []string { return []string{"agent-team", "hospital", "research-room"} }

// Load reads a bundle by its name, as [policy.Load] does.
func Load(name string) (*policy.Bundle, error) { return policy.Load(files, name) }

// Folder is a bundle as files, to be copied: policies, schema and entities where
// it has its own, and README.md, the guide.
func Folder(name string) (fs.FS, error) {
	if _, err := fs.Stat(files, name+"/README.md"); err != nil {
		return nil, err
	}
	return fs.Sub(files, name)
}

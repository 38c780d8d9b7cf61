package api

import (
	"context"
	"net/http"
)

// Keeping is what stays in the home, and what goes.
type Keeping interface {
	// Pin keeps an object's ciphertext, and fetches it first where it is not here.
	Pin(ctx context.Context, r PinRequest) (*Objects, error)
	// Unpin ends a pin: what it had brought goes with the next GC.
	Unpin(ctx context.Context, r UnpinRequest) (*Objects, error)
	// GC frees the blocks that nothing needs.
	GC(ctx context.Context, r GCRequest) (*Collected, error)
}

// PinRequest names an object, or with a grant's target all of it.
type PinRequest struct {
	Address     string `json:"address"`
	ThisVersion bool   `json:"this_version,omitempty"` // the address alone, not all that the grant covers
	As          string `json:"as,omitempty"`
	Op          string `json:"op,omitempty"` // names the operation for Progress
}

// UnpinRequest names what is pinned.
type UnpinRequest struct {
	Address string `json:"address"`
}

// GCRequest says how garbage is collected.
type GCRequest struct {
	DryRun bool `json:"dry_run,omitempty"` // free nothing, and tell what would be
	Force  bool `json:"force,omitempty"`   // also where damage hides what an object needs
}

// Collected says what was freed, or would be.
type Collected struct {
	Freed   int64      `json:"freed"` // bytes
	Blocks  int        `json:"blocks"`
	DryRun  bool       `json:"dry_run,omitempty"`
	Objects []Leftover `json:"objects"` // whose manifests are among the blocks
}

// Leftover is an object that nothing lists.
type Leftover struct {
	Address string `json:"address"`
	Stored  int64  `json:"stored_size"` // by its manifest; less of it may be here
}

func keepVerbs(m *http.ServeMux, v Keeping) {
	verb(m, "pin", v.Pin)
	verb(m, "unpin", v.Unpin)
	verb(m, "gc", v.GC)
}

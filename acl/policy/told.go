package policy

import (
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// What a requester states and may state otherwise; see [Engine.Wants].
const (
	WantsReason  = "reason"
	WantsPurpose = "purpose"
)

// Head is the head of the engine's bundle, zero for the zero value.
func (e *Engine) Head() statement.ID {
	if e == nil {
		return statement.ID{}
	}
	return e.head
}

// Wants says what in a denied request its own requester could state otherwise:
// [WantsReason] where the same request with a reason is allowed, and
// [WantsPurpose] where all that keeps some permit from applying are its words on
// purpose and reason. Everything else that policy looks at (roles, labels, time,
// counts) is none of the requester's words and is never told.
func (e *Engine) Wants(r Request) (out []string) {
	if e == nil || e.requests == nil {
		return nil
	}
	if r.Reason == "" {
		with := r
		with.Reason = "stated"
		if e.Decide(with).Allow {
			return []string{WantsReason}
		}
	}
	for _, m := range e.Explain(r).Matching {
		if !m.Forbids && len(m.Unmet) > 0 && !slices.ContainsFunc(m.Unmet, func(c Clause) bool { return !c.ofWords() }) {
			return []string{WantsPurpose}
		}
	}
	return nil
}

// ofWords reports a clause that reads the stated purpose or reason and nothing else.
func (c Clause) ofWords() bool {
	if c.Unless || c.Failed || len(c.Values) == 0 {
		return false
	}
	return !slices.ContainsFunc(c.Values, func(v string) bool {
		return !strings.HasPrefix(v, "context.purpose ") && !strings.HasPrefix(v, "context.reason ")
	})
}

// Rule names the policies that decided, with their descriptions, in one line. It
// quotes nothing of the request, so that it may stand in an audit log for ever.
func (x Explanation) Rule() string {
	line, _, _ := strings.Cut(x.String(), "\n")
	for _, m := range x.Matching {
		if m.Description != "" && slices.Contains(x.Policies, m.ID) {
			line += "; " + m.ID + ": " + m.Description
		}
	}
	return line
}

// Head is the head of the newest bundle, in force or not yet.
func (h *History) Head() statement.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.chain[len(h.chain)-1].head
}

// Version is the version of the newest bundle.
func (h *History) Version() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return uint64(len(h.chain) - 1)
}

// Knows reports whether a bundle with this head was accepted.
func (h *History) Knows(head statement.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.chain, func(l link) bool { return l.head == head })
}

// Region is where the roles say that somebody is: the name after [RegionPrefix]
// of the first such role in order, empty where there is none. Policies about
// people of several regions name the roles themselves.
func Region(roles []string) string {
	if all := Regions(roles); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Regions are the names of all regions among roles, sorted.
func Regions(roles []string) (out []string) {
	for _, r := range roles {
		if name, ok := strings.CutPrefix(r, RegionPrefix); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Identities are those to whom a role was ever given, sorted.
func (s *RoleSet) Identities() []statement.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]statement.ID, 0, len(s.given))
	for id := range s.given {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b statement.ID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// Len counts the statements that the set holds.
func (s *RoleSet) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := len(s.taken)
	for _, g := range s.given {
		n += len(g)
	}
	return n
}

// Bundle is the bundle of a version, which must not be changed. The error is
// [kv.ErrNotFound] where it is not here.
func (h *History) Bundle(version uint64) (*Bundle, error) {
	if version == 0 {
		return h.first, nil
	}
	raw, err := h.Raw(version)
	if err != nil {
		return nil, err
	}
	_, b, err := readBundle(raw)
	return b, err
}

// Follows reports, with [ErrGap] or [ErrBundle], a proposal that is not the next
// version of a history.
func (p *Proposal) Follows(h *History) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.follows(p.Bundle)
}

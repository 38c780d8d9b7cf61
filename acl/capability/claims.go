package capability

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// wording is what the statements of a chain say, well-formed and narrowing: all of
// it follows from the chain's bytes and the network, so that it may be remembered
// by their hash. It is shared by all who ask by one chain and never changed.
type wording struct {
	chain    *Chain
	path     []statement.ID // root grant first
	grants   []*Grant
	signed   []*statement.Statement // in the order of path
	consent  statement.ID
	agreed   *statement.Statement // the consent itself
	standing *Standing            // its body where it is a standing one
}

// claims are what a chain says with whom it speaks of. Time and revocation can be
// judged on them, since both go by ids; who signed has not been checked.
type claims struct {
	*wording
	record *trust.Committee        // whose validators signed the grant
	people map[statement.ID]*shown // exactly the owner's and the audiences'
}

// read checks everything about a chain that takes no signature.
func (vf *Verifier) read(c *Chain) (*claims, error) {
	w, err := readWording(c, vf.Trust.Network())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChain, err)
	}
	return vf.look(w)
}

// look finds out what is known now of the committee and the people of a chain.
func (vf *Verifier) look(w *wording) (*claims, error) {
	bad := func(err error) (*claims, error) { return nil, fmt.Errorf("%w: %w", ErrChain, err) }
	record, err := vf.Trust.ByID(w.grants[0].Record)
	if err != nil {
		return bad(fmt.Errorf("grant: %w", err))
	}
	cl := &claims{wording: w, record: record}
	if err := cl.readPeople(vf); err != nil {
		return bad(err)
	}
	return cl, nil
}

// readWording checks what follows from the bytes of a chain alone.
func readWording(c *Chain, network statement.ID) (*wording, error) {
	if len(c.Links) > MaxLinks || len(c.Identities) > maxIdentities {
		return nil, errTooLong
	}
	n := len(c.Links) + 1
	w := &wording{
		chain: c, path: make([]statement.ID, 0, n), grants: make([]*Grant, 0, n), signed: make([]*statement.Statement, 0, n),
	}
	if err := w.readRoot(network); err != nil {
		return nil, fmt.Errorf("grant: %w", err)
	}
	if err := w.readConsent(network); err != nil {
		return nil, fmt.Errorf("consent: %w", err)
	}
	for _, raw := range c.Links {
		if err := w.readLink(raw); err != nil {
			return nil, fmt.Errorf("link: %w", err)
		}
	}
	return w, nil
}

var errTooLong = fmt.Errorf("at most %d links are followed", MaxLinks)

func (w *wording) readRoot(network statement.ID) error {
	s, err := statement.Parse(w.chain.Grant)
	if err != nil {
		return err
	}
	var g Grant
	if err := s.Peek(KindGrant, &g); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return err
	}
	if len(g.Parent) != 0 {
		return errors.New("it has a parent, so that it is no root")
	}
	if g.Network != network {
		return errors.New("it is for another network")
	}
	w.add(s, &g)
	return nil
}

func (w *wording) readConsent(network statement.ID) (err error) {
	w.agreed, w.standing, err = readConsent(w.chain.Consent, w.path[0], w.grants[0], network)
	if err != nil {
		return err
	}
	w.consent = w.agreed.ID()
	return nil
}

// readConsent decodes the consent to a root grant, exact or standing as the grant
// says, and checks that it covers the grant. Who signed it has not been checked.
func readConsent(raw []byte, id statement.ID, g *Grant, network statement.ID) (*statement.Statement, *Standing, error) {
	bad := func(err error) (*statement.Statement, *Standing, error) { return nil, nil, err }
	s, err := statement.Parse(raw)
	if err != nil {
		return bad(fmt.Errorf("it is missing or damaged: %w", err))
	}
	if len(g.Consent) == 0 {
		var body Consent
		if err := s.Peek(KindConsent, &body); err != nil {
			return bad(err)
		}
		if body.Grant != id || body.Network != network {
			return bad(errors.New("it is to another grant"))
		}
		return s, nil, nil
	}
	if got := s.ID(); !bytes.Equal(g.Consent, got[:]) {
		return bad(errors.New("the grant rests on another one"))
	}
	var body Standing
	if err := s.Peek(KindStanding, &body); err != nil {
		return bad(err)
	}
	if err := body.Check(); err != nil {
		return bad(err)
	}
	if err := body.Covers(g); err != nil {
		return bad(fmt.Errorf("the grant is wider: %w", err))
	}
	return s, &body, nil
}

func (w *wording) readLink(raw []byte) error {
	s, err := statement.Parse(raw)
	if err != nil {
		return err
	}
	var g Grant
	if err := s.Peek(KindLink, &g); err != nil {
		return err
	}
	if err := g.Check(); err != nil {
		return err
	}
	if parent := w.path[len(w.path)-1]; !bytes.Equal(g.Parent, parent[:]) {
		return errors.New("its parent is another statement")
	}
	if err := g.Within(w.leaf()); err != nil {
		return err
	}
	w.add(s, &g)
	return nil
}

func (w *wording) add(s *statement.Statement, g *Grant) {
	w.path, w.grants, w.signed = append(w.path, s.ID()), append(w.grants, g), append(w.signed, s)
}

func (w *wording) leaf() *Grant { return w.grants[len(w.grants)-1] }

func (w *wording) leafID() statement.ID { return w.path[len(w.path)-1] }

// readPeople sorts the identity documents by the ids that they would prove. One
// too many is refused: each costs its reader a signature or more.
func (cl *claims) readPeople(vf *Verifier) error {
	needed := make([]statement.ID, 1, len(cl.grants)+1)
	needed[0] = cl.grants[0].Owner
	for _, g := range cl.grants {
		if !slices.Contains(needed, g.Audience) {
			needed = append(needed, g.Audience)
		}
	}
	cl.people = make(map[statement.ID]*shown, len(needed))
	for _, doc := range cl.chain.Identities {
		sh, err := vf.lookAt(doc)
		if err != nil {
			return err
		}
		if cl.people[sh.id] != nil {
			return errors.New("an identity document stands twice")
		}
		if !slices.Contains(needed, sh.id) {
			return errors.New("an identity document is neither the owner's nor an audience's")
		}
		cl.people[sh.id] = sh
	}
	if cl.people[cl.grants[0].Owner] == nil {
		return errors.New("the owner's identity document is missing")
	}
	if len(cl.people) != len(needed) {
		return errors.New("an audience's identity document is missing")
	}
	return nil
}

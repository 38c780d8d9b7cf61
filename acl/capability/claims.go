package capability

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// claims are what the statements of a chain say, well-formed and narrowing. Time
// and revocation can be judged on them, since both go by ids; who signed them
// has not been checked.
type claims struct {
	chain   *Chain
	record  *trust.Committee // whose validators signed the grant
	path    []statement.ID   // root grant first
	grants  []*Grant
	signed  []*statement.Statement // in the order of path
	consent statement.ID
	agreed  *statement.Statement    // the consent itself
	records map[statement.ID]record // exactly the owner's and the audiences'
}

// record is an identity record beside a chain.
type record struct {
	raw   []byte
	key   statement.ID       // of raw, in the verifier's memory
	known *identity.Identity // what it was verified to be before; nil: not yet
}

// read checks everything about a chain that takes no signature.
func (vf *Verifier) read(c *Chain) (*claims, error) {
	bad := func(err error) (*claims, error) { return nil, fmt.Errorf("%w: %w", ErrChain, err) }
	if len(c.Links) > MaxLinks || len(c.Identities) > maxIdentities {
		return bad(errTooLong)
	}
	cl := &claims{chain: c}
	if err := cl.readRoot(vf.Trust); err != nil {
		return bad(fmt.Errorf("grant: %w", err))
	}
	if err := cl.readConsent(vf.Trust.Network()); err != nil {
		return bad(fmt.Errorf("consent: %w", err))
	}
	for _, raw := range c.Links {
		if err := cl.readLink(raw); err != nil {
			return bad(fmt.Errorf("link: %w", err))
		}
	}
	if err := cl.readRecords(&vf.people); err != nil {
		return bad(err)
	}
	return cl, nil
}

var errTooLong = fmt.Errorf("at most %d links are followed", MaxLinks)

func (cl *claims) readRoot(c *trust.Chain) error {
	s, err := statement.Parse(cl.chain.Grant)
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
	if len(g.Parent) != 0 || g.Network != c.Network() {
		return errors.New("it is for another network")
	}
	if cl.record, err = c.ByID(g.Record); err != nil {
		return err
	}
	cl.add(s, &g)
	return nil
}

func (cl *claims) readConsent(network statement.ID) error {
	s, err := statement.Parse(cl.chain.Consent)
	if err != nil {
		return fmt.Errorf("it is missing or damaged: %w", err)
	}
	var body Consent
	if err := s.Peek(KindConsent, &body); err != nil {
		return err
	}
	if body.Grant != cl.path[0] || body.Network != network {
		return errors.New("it is to another grant")
	}
	cl.consent, cl.agreed = s.ID(), s
	return nil
}

func (cl *claims) readLink(raw []byte) error {
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
	if parent := cl.path[len(cl.path)-1]; string(g.Parent) != string(parent[:]) {
		return errors.New("its parent is another statement")
	}
	if err := g.Within(cl.leaf()); err != nil {
		return err
	}
	cl.add(s, &g)
	return nil
}

func (cl *claims) add(s *statement.Statement, g *Grant) {
	cl.path, cl.grants, cl.signed = append(cl.path, s.ID()), append(cl.grants, g), append(cl.signed, s)
}

func (cl *claims) leaf() *Grant { return cl.grants[len(cl.grants)-1] }

// readRecords sorts the identity records by the ids that they would prove. One
// too many is refused: each costs its reader a signature or more.
func (cl *claims) readRecords(people *recent[*identity.Identity]) error {
	needed := map[statement.ID]bool{cl.grants[0].Owner: true}
	for _, g := range cl.grants {
		needed[g.Audience] = true
	}
	cl.records = make(map[statement.ID]record, len(needed))
	for _, raw := range cl.chain.Identities {
		id, r, err := readRecord(raw, people)
		if err != nil {
			return err
		}
		if _, ok := cl.records[id]; ok {
			return errors.New("an identity record stands twice")
		}
		if !needed[id] {
			return errors.New("an identity record is neither the owner's nor an audience's")
		}
		cl.records[id] = r
	}
	if _, ok := cl.records[cl.grants[0].Owner]; !ok {
		return errors.New("the owner's identity record is missing")
	}
	if len(cl.records) != len(needed) {
		return errors.New("an audience's identity record is missing")
	}
	return nil
}

// readRecord finds the id that a record would prove.
func readRecord(raw []byte, people *recent[*identity.Identity]) (statement.ID, record, error) {
	if len(raw) > identity.MaxDocument {
		return statement.ID{}, record{}, fmt.Errorf("an identity document has more than %d bytes", identity.MaxDocument)
	}
	r := record{raw: raw, key: statement.Hash("verified identity", raw)}
	if p, ok := people.get(r.key, rememberedPeople); ok {
		r.known = p
		return p.ID(), r, nil
	}
	id, err := identity.IDOf(raw)
	if err != nil {
		return statement.ID{}, record{}, fmt.Errorf("identity record: %w", err)
	}
	return id, r, nil
}

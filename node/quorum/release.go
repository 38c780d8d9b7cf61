package quorum

import (
	"context"
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/capability"
	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/crypto/committee"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/home"
)

// maxBox bounds the plaintext of a release.
const maxBox = validator.MaxRelease

// Ask is a request for the keys of objects.
type Ask struct {
	Principal *home.Principal
	Chain     *capability.Verified
	Objects   [][]byte // addresses, at most validator.MaxBatch
	Purpose   string
	Reason    string
}

// Keys are the shares that validators released, by object, in the order of the
// request. An object that enough validators denied has none.
type Keys struct {
	c       *Committee
	ask     Ask
	shares  []map[statement.ID]*dealt // by object, then by dealing
	Denied  []bool                    // by object
	Holders []string                  // where the ciphertext was, as depositors said
	By      []int                     // validators that released, in the order of their answers
}

// dealt are the shares of one dealing; shares of different dealings never mix.
type dealt struct {
	t      int
	shares map[int]committee.Share
	signed []byte
}

// AskRelease asks every validator and returns as soon as T have released; where
// too few do, the error says so, and where n-t+1 deny, that it is a denial.
func (c *Committee) AskRelease(ctx context.Context, ask Ask) (*Keys, error) {
	return c.askRelease(ctx, ask, false)
}

func (c *Committee) askRelease(ctx context.Context, ask Ask, dealings bool) (*Keys, error) {
	k := &Keys{c: c, ask: ask, shares: make([]map[statement.ID]*dealt, len(ask.Objects)), Denied: make([]bool, len(ask.Objects))}
	denials := make([]int, len(ask.Objects))
	var t tally
	need := int(c.Record.Numbers.T)
	c.ask(ctx, Release, c.everybody(), 0, func(_ int, s Session) ([]byte, error) {
		r := validator.ReleaseRequest{Objects: ask.Objects, Purpose: ask.Purpose, Reason: ask.Reason, Dealings: dealings}
		authority, err := c.ProveChain(ask.Principal, ask.Chain.Chain(), s, r.Digest())
		if err != nil {
			return nil, err
		}
		r.Authority = authority
		return statement.Marshal(r)
	}, func(a answer) bool {
		if a.err == nil {
			a.err = k.take(a, denials, dealings)
		}
		t.add(a)
		if len(t.denied) >= c.denials() {
			return true
		}
		return !dealings && k.complete(need, denials)
	})
	for i := range k.Denied {
		k.Denied[i] = denials[i]+len(t.denied) >= c.denials()
	}
	if !k.complete(need, denials) {
		return nil, c.shortage(&t, need, "the key")
	}
	k.By = t.answered
	return k, nil
}

// complete reports whether every object has T shares of one dealing or was
// denied for certain.
func (k *Keys) complete(need int, denials []int) bool {
	some := false
	for i, byDealing := range k.shares {
		ok := denials[i] >= k.c.denials()
		for _, d := range byDealing {
			ok = ok || len(d.shares) >= need
			some = some || len(d.shares) >= need
		}
		if !ok {
			return false
		}
	}
	return some
}

// take opens one validator's answer. What it says is bound to this request, this
// leaf and this validator, or it does not count.
func (k *Keys) take(a answer, denials []int, dealings bool) error {
	var reply validator.ReleaseReply
	if err := statement.Unmarshal(a.raw, &reply); err != nil {
		return err
	}
	plain, err := k.ask.Principal.Opener.Open(reply.Box, maxBox)
	if err != nil {
		return errors.New("sealed its answer to somebody else")
	}
	var r validator.Release
	if err := statement.Unmarshal(plain, &r); err != nil {
		return err
	}
	want := validator.ReleaseRequest{Objects: k.ask.Objects, Purpose: k.ask.Purpose, Reason: k.ask.Reason, Dealings: dealings}.Digest()
	if r.Request != want || r.Leaf != k.ask.Chain.Leaf() || int(r.Validator) != a.index || len(r.Items) != len(k.ask.Objects) {
		return errors.New("answered another request")
	}
	for i, it := range r.Items {
		if it.Outcome != validator.ItemOK || len(it.Share) != 64 || it.T == 0 {
			denials[i]++
			continue
		}
		if k.shares[i] == nil {
			k.shares[i] = map[statement.ID]*dealt{}
		}
		d := k.shares[i][it.Dealing]
		if d == nil {
			d = &dealt{t: int(it.T), shares: map[int]committee.Share{}}
			k.shares[i][it.Dealing] = d
		}
		d.shares[a.index] = committee.Share{Value: [32]byte(it.Share[:32]), Blinding: [32]byte(it.Share[32:])}
		if len(it.Signed) > 0 {
			d.signed = it.Signed
		}
		k.hold(it.Holders)
	}
	return nil
}

func (k *Keys) hold(addresses []string) {
	for _, a := range addresses {
		if len(k.Holders) < 32 && !contains(k.Holders, a) {
			k.Holders = append(k.Holders, a)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Open tries the shares of object i: open is given a candidate secret and says
// whether it opens the object. The usual case needs no dealing. Where no T
// shares give the right secret, the validators are asked once more with the
// dealings, and those whose share does not fit are named.
func (k *Keys) Open(ctx context.Context, i int, open func(committee.Secret) error) (liars []int, err error) {
	if k.try(i, open) {
		return nil, nil
	}
	again, err := k.c.askRelease(ctx, k.one(i), true)
	if err != nil {
		return nil, err
	}
	for id, d := range again.shares[0] {
		dealing, got, err := validator.VerifyDealing(d.signed, k.ask.Chain.Owner())
		if err != nil || got != id {
			continue
		}
		found, err := committee.Open(dealing.Commitments, int(dealing.T), d.shares, open)
		if err == nil {
			return found, nil
		}
		liars = append(liars, found...)
	}
	return liars, fmt.Errorf("no %d shares of one dealing open the object", k.c.Record.Numbers.T)
}

func (k *Keys) try(i int, open func(committee.Secret) error) bool {
	for _, d := range k.shares[i] {
		if d.t != int(k.c.Record.Numbers.T) || len(d.shares) < d.t {
			continue
		}
		s, err := committee.Recover(d.t, d.shares)
		if err == nil && open(s) == nil {
			return true
		}
	}
	return false
}

func (k *Keys) one(i int) Ask {
	a := k.ask
	a.Objects = k.ask.Objects[i : i+1]
	return a
}

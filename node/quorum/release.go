package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

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
	shares  []map[statement.ID]*epoch // by object, then by epoch
	denials []int                     // by object: who released others, but not it
	liars   []int                     // whose dealing or share was checked and found wrong
	Denied  []bool                    // by object
	Holders []string                  // where the ciphertext was, as depositors said
	By      []int                     // validators that released, in the order of their answers

	recovery committee.Recovery // of all objects: the same validators hold their shares
}

// AskRelease asks T validators, the others where those fail or are late, and returns
// as soon as T have released; where too few do, the error says so, and where
// n-t+1 deny, that it is a denial.
func (c *Committee) AskRelease(ctx context.Context, ask Ask) (*Keys, error) {
	c = c.pin()
	k, err := c.askRelease(ctx, ask, false)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// askRelease returns what there is beside an error, too: it may name liars.
func (c *Committee) askRelease(ctx context.Context, ask Ask, dealings bool) (*Keys, error) {
	n := len(ask.Objects)
	k := &Keys{c: c, ask: ask, shares: make([]map[statement.ID]*epoch, n), denials: make([]int, n), Denied: make([]bool, n)}
	var t tally
	k.gather(ctx, &t, c.shuffled(), dealings)
	if more := len(c.retired()); more > 0 && !k.complete(len(t.denied)) {
		// In the middle of a rotation those who left may still hold what is missing.
		left := make([]int, more)
		for i := range left {
			left[i] = len(c.record.Validators) + i
		}
		k.gather(ctx, &t, left, dealings)
	}
	for i := range k.Denied {
		k.Denied[i] = k.isDenied(i, len(t.denied))
	}
	k.By = t.answered
	if !k.complete(len(t.denied)) {
		return k, c.shortage(&t, int(c.record.Numbers.T), "the key")
	}
	return k, nil
}

// gather asks some validators until what they released is enough.
func (k *Keys) gather(ctx context.Context, t *tally, which []int, dealings bool) {
	c, ask, r := k.c, k.ask, k.request(dealings)
	digest := r.Digest()
	chain, unshown := show(ask.Chain.Chain(), ask.Principal)
	c.askFirst(ctx, Release, which, int(c.record.Numbers.T), 0, func(_ int, s Session) ([]byte, error) {
		if unshown != nil {
			return nil, unshown
		}
		authority, err := c.proveShown(ask.Principal, chain, s, digest)
		if err != nil {
			return nil, err
		}
		r := r
		r.Authority = authority
		return statement.Marshal(r)
	}, func(a answer) bool {
		if a.err == nil {
			a.judge(k.take(a, dealings))
		} else {
			k.tookDenial(a, dealings)
		}
		if a.index >= len(c.record.Validators) && errors.Is(a.err, ErrDenied) {
			a.err = ErrUnreachable // who left has nothing left to give; it decides nothing any more
		}
		t.add(a)
		return c.certain(t, int(c.record.Numbers.T)) || k.complete(len(t.denied))
	})
}

func (k *Keys) request(dealings bool) validator.ReleaseRequest {
	return validator.ReleaseRequest{Objects: k.ask.Objects, Purpose: k.ask.Purpose, Reason: k.ask.Reason, Dealings: dealings}
}

// isDenied counts those that denied an object by itself and those that denied
// the whole request.
func (k *Keys) isDenied(i, whole int) bool { return k.denials[i]+whole >= k.c.denials() }

// complete reports whether every object has T shares of one dealing or was
// denied for certain, and not all of them were.
func (k *Keys) complete(whole int) bool {
	some := false
	for i, epochs := range k.shares {
		ok := false
		for _, e := range epochs {
			ok = ok || e.enough()
		}
		if !ok && !k.isDenied(i, whole) {
			return false
		}
		some = some || ok
	}
	return some
}

// take opens one validator's answer. What it says is bound to this request, this
// leaf and this validator, or it does not count.
func (k *Keys) take(a answer, dealings bool) error {
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
	if r.Request != k.request(dealings).Digest() || r.Leaf != k.ask.Chain.Leaf() || r.Server != k.c.server(a.index) || len(r.Items) != len(k.ask.Objects) {
		return errors.New("answered another request")
	}
	var wrong error
	for i, it := range r.Items {
		switch it.Outcome {
		case validator.ItemOK:
		case validator.ItemNotYet:
			continue // others have it
		default:
			if a.index < len(k.c.record.Validators) {
				k.denials[i]++
			}
			continue
		}
		if err := k.takeItem(a.index, i, it, dealings); err != nil {
			wrong = err
		}
	}
	k.hold(r.Items)
	k.took(a.index, r.Receipt, dealings)
	return wrong
}

// takeItem keeps the shares of an object. Where dealings were asked for, they are
// checked first: whoever sends a dealing that is not the owner's, or a share off
// its dealing, must not keep the others' from being used.
func (k *Keys) takeItem(index, i int, it validator.ReleaseItem, dealings bool) error {
	var fits *committee.Parsed
	if dealings {
		d, err := k.dealing(i, it)
		if err == nil {
			fits, err = committee.Unscaled(d.Commitments).Parse(int(d.T))
		}
		if err != nil {
			k.blame(index)
			return err
		}
	}
	if len(it.Shares) == 0 || len(it.Shares) > validator.MaxEpochs {
		return errors.New("it released nothing")
	}
	var wrong error
	for _, s := range it.Shares {
		if err := k.takeShare(index, i, it.Dealing, s, fits); err != nil {
			wrong = err
		}
	}
	return wrong
}

// dealing verifies the dealing that came with shares.
func (k *Keys) dealing(i int, it validator.ReleaseItem) (*validator.Dealing, error) {
	d, id, err := validator.VerifyDealing(it.Signed, k.ask.Chain.Owner())
	if err == nil && (id != it.Dealing || !bytes.Equal(d.Manifest, k.ask.Objects[i])) {
		err = errors.New("its dealing is another object's")
	}
	return d, err
}

// takeShare keeps one share. One under a record that is not known here yet is
// left aside: the others may be enough.
func (k *Keys) takeShare(index, i int, dealing statement.ID, s validator.ReleasedShare, fits *committee.Parsed) error {
	record, err := k.c.Trust.ByID(s.Record)
	if err != nil {
		return err
	}
	if k.shares[i] == nil {
		k.shares[i] = map[statement.ID]*epoch{}
	}
	key := statement.Hash("epoch and record", s.Epoch[:], s.Record[:]) // one liar must not choose the record for all
	e := k.shares[i][key]
	if e == nil {
		e = &epoch{record: record, shares: map[int]entry{}}
		if s.Epoch == dealing {
			e.fits = fits
		}
		k.shares[i][key] = e
	}
	err = e.add(k.c.server(index), index, s)
	if fits != nil {
		if err != nil {
			k.blame(index)
		}
		for _, liar := range e.agree() {
			k.blame(liar)
		}
	}
	return err
}

func (k *Keys) blame(index int) {
	if !slices.Contains(k.liars, index) {
		k.liars = append(k.liars, index)
		slices.Sort(k.liars)
	}
}

// holdersEach is how many addresses one validator may name, so that no validator
// crowds out what the others say: what a depositor named, and carriers.
const holdersEach = 24

func (k *Keys) hold(items []validator.ReleaseItem) {
	left := holdersEach
	for _, it := range items {
		for _, a := range it.Holders {
			if left > 0 && !slices.Contains(k.Holders, a) {
				k.Holders = append(k.Holders, a)
				left--
			}
		}
	}
}

// Open tries the shares of object i: open is given a candidate secret and says
// whether it opens the object. The usual case needs no dealing. Where no T
// shares give the right secret, the validators are asked once more with the
// dealings, every share is checked against its own, the first ones too, and
// those whose share does not fit are named, also beside an error.
func (k *Keys) Open(ctx context.Context, i int, open func(committee.Secret) error) (liars []int, err error) {
	if k.try(i, open) {
		return nil, nil
	}
	again, err := k.c.askRelease(ctx, k.one(i), true)
	if err != nil {
		return again.liars, err
	}
	again.checkFirst(k.shares[i])
	err = errors.New("too few validators hold shares of one dealing")
	for _, e := range again.shares[0] {
		if !e.enough() {
			continue
		}
		var s committee.Secret
		if s, err = e.secret(&k.recovery); err != nil {
			continue
		}
		if err = open(s); err == nil {
			return again.liars, nil
		}
	}
	return again.liars, fmt.Errorf("the shares that fit their dealing do not open the object: %w", err)
}

// checkFirst checks the shares of the first round against the dealings of the
// second: a validator that lied in the first may be silent or honest in the second.
func (k *Keys) checkFirst(first map[statement.ID]*epoch) {
	for id, e := range k.shares[0] {
		if first[id] == nil || e.fits == nil {
			continue
		}
		for at, got := range first[id].shares {
			if e.fits.Check(at, got.share) != nil {
				k.blame(got.from)
			}
		}
	}
}

func (k *Keys) try(i int, open func(committee.Secret) error) bool {
	for _, e := range k.shares[i] {
		s, err := e.secret(&k.recovery)
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

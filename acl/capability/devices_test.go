package capability

import (
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// without is a person's document once its first device has left.
func without(t *testing.T, p *trusttest.Person) []byte {
	t.Helper()
	r, err := p.RemoveSelf(p.Devices[0], time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.With(r)
	if err != nil {
		t.Fatal(err)
	}
	return id.Record()
}

// RV-06: a consent outlives its device, because K validators saw it in time; a
// link does not. What was verified with an older document is verified anew.
func TestAfterADeviceLeft(t *testing.T) {
	w := newWorld(t)
	c := w.honest(t)
	w.accept(t, "control: before", c)
	c.Identities[0] = without(t, w.owner)
	w.accept(t, "the owner's device left", c)
	c.Identities[1] = without(t, w.reader)
	w.refuse(t, "the issuer's device left", c, ErrChain, "link: "+statement.ErrSignature.Error())
}

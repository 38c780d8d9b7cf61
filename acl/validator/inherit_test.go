package validator

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// versionsOf makes deposits of the versions of one lineage.
func versionsOf(t *testing.T, n int) (out []*deposit) {
	t.Helper()
	key := statement.GenerateKey()
	line := envelope.NewNonce()
	cid := func(codec uint64) []byte { return envelope.CIDOf(line[:], codec).Bytes() }
	var previous []byte
	for i := range n {
		b, err := envelope.SignManifest(envelope.Manifest{
			Format: envelope.ManifestFormat, KeyNonce: envelope.NewNonce(), Lineage: line, Sequence: uint64(i), Previous: previous,
			File: cid(envelope.CodecDagPB), Header: cid(envelope.CodecRaw), Payload: cid(envelope.CodecDagPB), Size: uint64(envelope.PayloadSize(1)),
		}, key)
		if err != nil {
			t.Fatal(err)
		}
		previous = b.CID.Bytes()
		out = append(out, &deposit{Address: previous, Manifest: b.Data})
	}
	return out
}

// A validator that a rotation brings in receives versions in the order of their
// key ids, some of them perhaps in a later batch, and ends with the newest as head.
func TestANewValidatorInheritsTheHighestHead(t *testing.T) {
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "backwards": {2, 1, 0}, "mixed": {1, 2, 0}, "the older are gone": {2}} {
		for _, batch := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				versions := versionsOf(t, 3)
				j := &Judge{Store: &kv.Memory{}}
				lines := newLineages(j)
				apply := func() {
					if err := j.Store.Apply(lines.ops); err != nil {
						t.Fatal(err)
					}
					lines = newLineages(j)
				}
				for i, v := range order {
					if err := lines.inherit(versions[v]); err != nil {
						t.Fatal(err)
					}
					if (i+1)%batch == 0 {
						apply()
					}
				}
				apply()
				m, _, err := versions[0].manifest()
				if err != nil {
					t.Fatal(err)
				}
				h, err := j.loadHead(m.LineageID())
				if err != nil || h == nil || string(h.Address) != string(versions[2].Address) {
					t.Errorf("the head is %+v: %v", h, err)
				}
				for _, v := range order {
					if _, err := j.Store.Get(append([]byte("version/"), versions[v].Address...)); err != nil {
						t.Errorf("version %d cannot be asked about: %v", v, err)
					}
				}
			})
		}
	}
}

package trust_test

import (
	"bytes"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
	"cerebrum.dev/cerebrum/crypto/statement"
)

func FuzzGenesis(f *testing.F) {
	for _, n := range []int{1, 4} {
		net, r := trusttest.Draft(f, "net", n)
		f.Add(net.Signed(f, r).Bytes())
		r.Version = 2
		f.Add(net.Signed(f, r).Bytes())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := trust.Genesis(raw)
		if err != nil {
			return
		}
		s, err := statement.Parse(c.Raw())
		if err != nil || !bytes.Equal(c.Raw(), raw) || s.ID() != c.Network() {
			t.Error("the record changed")
		}
		if c.Numbers.Check() != nil || len(c.Validators) != int(c.Numbers.N) {
			t.Errorf("unsafe numbers: %+v", c.Numbers)
		}
	})
}

func FuzzMembership(f *testing.F) {
	net := trusttest.New(f, "net", 4)
	f.Add(signed(f, net, trust.KindMembership, membership(net), 0, 1, 2))
	f.Add(signed(f, net, trust.KindMembership, membership(net), 0, 1))
	f.Add(signed(f, net, "grant", membership(net), 0, 1, 2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := net.VerifyMembership(raw, carol, now)
		if err != nil {
			return
		}
		if *m != membership(net) {
			t.Errorf("nobody signed %+v", m)
		}
	})
}

func FuzzFile(f *testing.F) {
	file, net := draft(f)
	add := func() {
		raw, err := statement.Marshal(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	add()
	for _, k := range append(net.Signing, net.Roots...) {
		if _, err := file.Sign(k); err != nil {
			f.Fatal(err)
		}
	}
	add()
	f.Add([]byte{0x85, 1, 0x81, 0x40, 0x80, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := trust.ParseFile(raw)
		if err != nil {
			return
		}
		if again, err := statement.Marshal(file); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("the file changed: %v", err)
		}
		file.Draft()
		if c, err := file.Committee(); err == nil {
			file.Membership(c, carol, now)
		}
		own := travel(t, file)
		if file.Merge(own) == nil {
			file.Sign(net.Signing[0])
		}
	})
}

func FuzzCard(f *testing.F) {
	body, keys := card(f)
	for _, n := range []int{3, 2, 0} {
		s, err := statement.Sign(trust.KindCard, body, keys[:n]...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, id, err := trust.ParseCard(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Identity, id.Record()) || len(c.Validator) > 1 {
			t.Error("the card is of another identity")
		}
	})
}

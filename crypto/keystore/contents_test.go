package keystore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/crypto/statement"
)

func TestContentsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(c *Contents){
		"future format":          func(c *Contents) { c.Format = Format + 1 },
		"format 1 and a log key": func(c *Contents) { c.Format = 1 },
		"no log key":             func(c *Contents) { c.Log = nil },
		"zero log key":           func(c *Contents) { clear(c.Log) },
		"peer key as log key":    func(c *Contents) { c.Log, c.Validators = c.Peer, nil },
		"another log key":        func(c *Contents) { c.Log = NewDeviceKey().Seed() },
		"short peer key":         func(c *Contents) { c.Peer = c.Peer[1:] },
		"zero peer key":          func(c *Contents) { clear(c.Peer) },
		"no master":              func(c *Contents) { c.Master = nil },
		"zero master":            func(c *Contents) { clear(c.Master) },
		"two validators":         func(c *Contents) { c.Validators = append(c.Validators, c.Validators[0]) },
		"one key twice":          func(c *Contents) { c.Validators[0].Log = c.Validators[0].Signing },
		"zero witness key":       func(c *Contents) { clear(c.Validators[0].Witness) },
		"validator recipient":    func(c *Contents) { c.Validators[0].Recipient = []byte("age1...") },
		"same name":              func(c *Contents) { c.Identities[1].Name = c.Identities[0].Name },
		"no name":                func(c *Contents) { c.Identities[0].Name = "" },
		"long name":              func(c *Contents) { c.Identities[0].Name = strings.Repeat("n", MaxName+1) },
		"name not UTF-8":         func(c *Contents) { c.Identities[0].Name = "\xff" },
		"huge document":          func(c *Contents) { c.Identities[0].Document = make([]byte, maxDocument+1) },
		"short device key":       func(c *Contents) { c.Identities[0].Device = []byte{1} },
		"recipient in place":     func(c *Contents) { c.Identities[0].Recipient = publicHalf(t, c) },
		"too many identities": func(c *Contents) {
			for i := range MaxIdentities {
				id := c.Identities[0]
				id.Name = fmt.Sprint(i)
				c.Identities = append(c.Identities, id)
			}
		},
	} {
		c := fullContents(t)
		spoil(c)
		if err := Create(home(t), c, Protection{Plain: true}); err == nil {
			t.Errorf("%s: kept", name)
		}
		if raw, err := statement.Marshal(c); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := decodeContents(raw); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	if err := Create(home(t), nil, Protection{Plain: true}); err == nil {
		t.Error("nothing at all: kept")
	}
	if err := Create(home(t), fullContents(t), Protection{Plain: true}); err != nil { // control
		t.Errorf("sound contents: %v", err)
	}
}

// Homes of format 1 are read as they are, and get a log key once: the one that
// the network knows, where there is a validator.
func TestContentsOfFormat1GetALogKey(t *testing.T) {
	for _, validator := range []bool{true, false} {
		old := fullContents(t)
		old.Format, old.Log = 1, nil
		if !validator {
			old.Validators = nil
		}
		raw, err := old.encode()
		if err != nil {
			t.Fatal(err)
		}
		dir := home(t)
		if err := Create(dir, old, Protection{Plain: true}); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := s.Contents()
		if again, err := c.encode(); err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("reading changed the contents: %v", err)
		}
		if !c.Upgrade() || c.Format != Format || validator && !bytes.Equal(c.Log, old.Validators[0].Log) {
			t.Fatalf("validator %v: format %d, log key %d bytes", validator, c.Format, len(c.Log))
		}
		if c.Upgrade() {
			t.Error("upgraded twice")
		}
		if err := s.Save(c); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Contents().Log, c.Log) {
			t.Error("another log key came back")
		}
	}
	short := fullContents(t) // a newer format in the older shape
	if raw, err := statement.Marshal(firstContents{Format: Format, Peer: short.Peer, Master: short.Master}); err != nil {
		t.Fatal(err)
	} else if _, err := decodeContents(raw); err == nil {
		t.Error("contents without their log key were read")
	}
}

func publicHalf(t *testing.T, c *Contents) []byte {
	r, err := HybridRecipient(string(c.Identities[0].Recipient))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(r)
}

func TestTheLargestAllowedContentsFitTheFile(t *testing.T) {
	c := fullContents(t)
	one := c.Identities[0]
	one.Document = bytes.Repeat([]byte{1}, maxDocument)
	c.Identities = nil
	for i := range MaxIdentities {
		one.Name = fmt.Sprintf("%0*d", MaxName, i)
		c.Identities = append(c.Identities, one)
	}
	dir := home(t)
	if err := Create(dir, c, Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	c := fullContents(t)
	p := Protection{Passphrase: []byte("CANARY")}
	canaries := []string{"CANARY", "AGE-SECRET-KEY", fmt.Sprintf("%x", c.Identities[0].Device), fmt.Sprint(c.Identities[0].Device), "AGFnZ"}
	o, err := NewOpener(string(c.Identities[0].Recipient))
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{contents: c, protection: p}
	for _, v := range []any{c, *c, c.Identities, c.Identities[0], c.Validators[0], p, &p, o, s} {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
			fmt.Fprintf(&out, verb, v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		for _, canary := range canaries {
			if strings.Contains(out.String(), canary) {
				t.Errorf("%T shows a secret", v)
			}
		}
	}
	if !strings.Contains(fmt.Sprint(c.Identities[0].Device), canaries[3]) { // control
		t.Error("the search would not find a printed key")
	}
}

func TestTypedKeysMatchTheirSeeds(t *testing.T) {
	c := fullContents(t)
	k, err := c.Identities[0].DeviceKey()
	if err != nil || !bytes.Equal(k.Seed(), c.Identities[0].Device) {
		t.Fatalf("device key: %v", err)
	}
	k, err = c.Validators[0].SigningKey()
	if err != nil || !bytes.Equal(k.Seed(), c.Validators[0].Signing) {
		t.Fatalf("signing key: %v", err)
	}
}

func FuzzContents(f *testing.F) {
	raw, err := fullContents(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	plain, err := encodePlain(raw)
	if err != nil {
		f.Fatal(err)
	}
	first := fullContents(f)
	first.Format, first.Log = 1, nil
	old, err := first.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(old)
	f.Add(plain)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeContents(b); err == nil {
			if again, err := c.encode(); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("contents re-encode differently: %v", err)
			}
		}
		if inner, err := decodePlain(b); err == nil {
			if again, err := encodePlain(inner); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("the plain file re-encodes differently: %v", err)
			}
		}
	})
}

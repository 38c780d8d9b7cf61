package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	relayID = "12D3KooWST6YHGKTCztWjbdyyQrGkxGBgHNDkcZgtw2dGm3Po9PP"
	relayAt = "/ip4/192.0.2.1/tcp/4801/p2p/" + relayID
)

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(dir)
}

func TestMissingFileIsTheZeroValue(t *testing.T) {
	c, err := Load(t.TempDir())
	if err != nil || !reflect.DeepEqual(c, &Config{}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if l, err := c.Level(); err != nil || l != slog.LevelInfo {
		t.Errorf("level %v, %v", l, err)
	}
	if a, err := c.Multiaddrs(); err != nil || len(a) != 0 {
		t.Errorf("%v, %v", a, err)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range []Config{{}, {
		Listen: []string{"/ip4/127.0.0.1/tcp/4801", "/ip6/::1/udp/4801/quic-v1"}, Log: "debug", Local: true,
		Relay: true, ViaRelays: []string{relayAt, AutoRelay},
	}} {
		text, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got, err := load(t, string(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Listen) == 0 {
			got.Listen = nil
		}
		if !reflect.DeepEqual(*got, c) {
			t.Errorf("%+v became %+v", c, *got)
		}
	}
}

// Each refusal names the file and what is wrong in it.
func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"listne = []":                                      `"listne"`,
		"[log]\nlevel = 'info'":                            "table",
		"[extra]\na = 1":                                   `"extra`,
		"listen = ['127.0.0.1:4801']":                      "127.0.0.1:4801",
		"listen = ['/ip4/300.0.0.1/tcp/1']":                "/ip4/300.0.0.1/tcp/1",
		"listen = ['']":                                    "multiaddr",
		"listen = '/ip4/127.0.0.1/tcp/1'":                  "",
		"log = 'loud'":                                     "loud",
		"log = 'info+100'":                                 "info+100", // would hide errors
		"local = 'yes'":                                    "",
		"log = 'info'\nlog = 'debug'":                      "",
		"listen = [":                                       "",
		"\x00":                                             "",
		"log = 'info' # fine\n\nunheard_of = 1":            `"unheard_of"`,
		"relay = 'yes'":                                    "",
		"via_relays = 'auto'":                              "",
		"via_relays = ['automatic']":                       "automatic",
		"via_relays = ['/ip4/192.0.2.1/tcp/1']":            "/p2p/PEER",
		"via_relays = ['/p2p/" + relayID + "']":            "/p2p/PEER",
		"via_relays = ['/ip4/192.0.2.1/tcp/1/p2p/nobody']": "nobody",
		"via_relays = ['" + relayAt + "/p2p-circuit']":     "/p2p/PEER",
		"via_relays = ['" + relayAt + "/p2p-circuit/p2p/" + relayID + "']": "/p2p/PEER",
	} {
		c, err := load(t, text)
		if err == nil || c != nil {
			t.Errorf("%q is taken: %+v, %v", text, c, err)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), File) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := load(t, "log = 'warn'\nlocal = true\n# a comment"); err != nil { // the control
		t.Error(err)
	}
}

// Two addresses of one relay are one relay.
func TestRelays(t *testing.T) {
	c := Config{ViaRelays: []string{relayAt, AutoRelay, "/dns4/relay.example/udp/4801/quic-v1/p2p/" + relayID}}
	via, auto, err := c.Relays()
	if err != nil || !auto || len(via) != 1 || via[0].ID.String() != relayID || len(via[0].Addrs) != 2 {
		t.Errorf("%v, %v, %v", via, auto, err)
	}
	if via, auto, err := new(Config).Relays(); len(via) != 0 || auto || err != nil {
		t.Errorf("by default: %v, %v, %v", via, auto, err)
	}
}

// Nothing is written that would be refused when it is read.
func TestBytesChecks(t *testing.T) {
	for _, c := range []Config{{Listen: []string{"nowhere"}}, {Log: "loud"}} {
		if _, err := c.Bytes(); err == nil {
			t.Errorf("%+v is written", c)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("log = 'info'")
	f.Add("listen = ['/ip4/127.0.0.1/tcp/4801']\nlocal = true")
	f.Add("x = 1")
	f.Add("relay = true\nvia_relays = ['auto', '" + relayAt + "']")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text)
		if err != nil {
			return
		}
		if _, err := c.Bytes(); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

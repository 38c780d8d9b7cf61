// Package config is the configuration file of a home, config.toml:
//
//	listen = ["/ip4/127.0.0.1/tcp/4801", "/ip4/127.0.0.1/udp/4801/quic-v1"]
//	log = "info"          # debug, info, warn or error
//	local = false         # a network on one machine: no limits per address
//	no_dht = false        # learn of holders from validators and mirrors alone
//	relay = false         # carry connections of members to members behind a NAT
//	via_relays = ["auto"] # be reachable through members that are relays, or
//	                      # ["/ip4/198.51.100.7/tcp/4801/p2p/PEER"]: through these
//	audit_syslog = "tls://collector.example:6514" # stream the audit log to a syslog
//	                      # server; also tcp://, udp:// and unix:///path
//	unlogged_reads = false # read and serve although the audit log cannot be written
//
// Unknown keys are refused, so that a typing error does not pass for a setting.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/node/forward"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/pelletier/go-toml/v2"
)

// File is the name of the configuration in a home.
const File = "config.toml"

// Config is what an operator may set. The zero value listens on free ports of
// the loopback interface and logs at level info.
type Config struct {
	// Listen are the multiaddrs to listen on, TCP and QUIC.
	Listen []string `toml:"listen"`
	// Log is the level of the log on standard error.
	Log string `toml:"log,omitempty"`
	// Local says that all peers share this machine: limits per address are off.
	Local bool `toml:"local,omitempty"`
	// NoDHT says that holders are learned from validators and mirrors alone: nothing is
	// announced in the members' DHT, and nothing is looked up there.
	NoDHT bool `toml:"no_dht,omitempty"`
	// Relay has this node carry connections between members that cannot reach each
	// other. It cannot read what it carries.
	Relay bool `toml:"relay,omitempty"`
	// ViaRelays are the relays through which members can reach this node: multiaddrs
	// that end in /p2p/PEER, or AutoRelay. Empty: it is reached directly only.
	ViaRelays []string `toml:"via_relays,omitempty"`
	// AuditSyslog is the syslog server that the audit log is streamed to, persons and
	// all: see package forward. Empty: none.
	AuditSyslog string `toml:"audit_syslog,omitempty"`
	// UnloggedReads lets reads at this node, and ciphertext that it serves, go on where
	// they cannot be recorded. Nothing else does, and no validator releases a key.
	UnloggedReads bool `toml:"unlogged_reads,omitempty"`
}

// AutoRelay among Config.ViaRelays stands for connected members that are relays.
const AutoRelay = "auto"

// Load reads the configuration of a home; a missing file is the zero value.
func Load(home string) (*Config, error) {
	raw, err := os.ReadFile(filepath.Join(home, File))
	if errors.Is(err, fs.ErrNotExist) {
		return &Config{}, nil
	}
	if err != nil {
		return nil, err
	}
	var c Config
	d := toml.NewDecoder(bytes.NewReader(raw)).DisallowUnknownFields()
	var unknown *toml.StrictMissingError
	if err := d.Decode(&c); errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		return nil, fmt.Errorf("%s: there is no setting %q", File, strings.Join(unknown.Errors[0].Key(), "."))
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", File, err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *Config) check() error {
	if _, err := c.Level(); err != nil {
		return err
	}
	if _, _, err := c.Relays(); err != nil {
		return err
	}
	if _, _, err := c.Syslog(); err != nil {
		return err
	}
	_, err := c.Multiaddrs()
	return err
}

// Relays are the relays named in ViaRelays, one entry for each peer, and whether
// others are to be found.
func (c *Config) Relays() (via []peer.AddrInfo, auto bool, err error) {
	var named []multiaddr.Multiaddr
	for _, s := range c.ViaRelays {
		if s == AutoRelay {
			auto = true
			continue
		}
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, false, fmt.Errorf("%s: via_relays: %q is neither a multiaddr nor %q: %w", File, s, AutoRelay, err)
		}
		direct, id := peer.SplitAddr(a)
		if _, err := a.ValueForProtocol(multiaddr.P_CIRCUIT); err == nil || id == "" || len(direct) == 0 {
			return nil, false, fmt.Errorf("%s: via_relays: %q must be a relay's own address, ending in /p2p/PEER", File, s)
		}
		named = append(named, a)
	}
	via, err = peer.AddrInfosFromP2pAddrs(named...)
	if err != nil {
		return nil, false, fmt.Errorf("%s: via_relays: %w", File, err)
	}
	return via, auto, nil
}

// Syslog is where the audit log is streamed to; false where it is not.
func (c *Config) Syslog() (forward.Target, bool, error) {
	if c.AuditSyslog == "" {
		return forward.Target{}, false, nil
	}
	t, err := forward.ParseTarget(c.AuditSyslog)
	if err != nil {
		return t, false, fmt.Errorf("%s: audit_syslog: %w", File, err)
	}
	return t, true, nil
}

// Level is the level of the log.
func (c *Config) Level() (slog.Level, error) {
	switch c.Log {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%s: log is debug, info, warn or error, not %.80q", File, c.Log)
}

// Multiaddrs are the addresses to listen on, parsed.
func (c *Config) Multiaddrs() ([]multiaddr.Multiaddr, error) {
	var out []multiaddr.Multiaddr
	for _, s := range c.Listen {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no multiaddr: %w", File, s, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// Bytes is the file's text.
func (c *Config) Bytes() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return toml.Marshal(c)
}

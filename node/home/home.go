// Package home is the folder that a node lives in:
//
//	keys.age or keys.plain   keys at rest (package keystore)
//	config.toml              settings (package config)
//	network.pem              the network file, once one is adopted
//	lock                     held by the one process that works on the home
//	store/  audit/  slots    blocks and records, evidence, keys of the erasable store
//	evidence/                what proves that somebody's audit log showed two histories
//	api.sock                 the running node's socket
//
// Opening a home reads keys and settings; it takes no lock and starts nothing.
package home

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/fault"
)

// Names inside a home.
const (
	NetworkFile = "network.pem"
	Socket      = "api.sock"
	// maxSocket is the longest path that every supported system takes for a
	// unix socket (sun_path holds 108 bytes with its final zero on Linux).
	maxSocket = 107
)

const (
	pemType    = "CEREBRUM NETWORK"
	inviteType = "CEREBRUM INVITATION"
)

// Home is an opened home. Its fields are read-only. Its identities may change while
// a node works on it, so that methods are safe for concurrent use, but those of a
// network and of a validator's keys.
type Home struct {
	Dir       string
	Config    *config.Config
	Network   *trust.File      // nil before a network is adopted
	Committee *trust.Committee // the newest in Network; a node's store may know a newer one; nil before a network is adopted

	keys *keystore.Store

	peerOnce sync.Once
	peer     statement.PublicKey // set by peerOnce: each request needs it

	saving sync.Mutex // held from reading the keys to saving them; before mu

	mu         sync.RWMutex
	contents   *keystore.Contents // owned by mu, like the list; what they hold does not change
	principals []*Principal
}

// Principal is an identity whose keys this home holds.
type Principal struct {
	Name     string
	Identity *identity.Identity
	Device   statement.PrivateKey
	Current  bool // false once the device was removed or recovered from: what it signs is refused
	Opener   *keystore.Opener
	Secret   func() string // the age identity, for export alone
}

// Options are the choices of init.
type Options struct {
	Name       string // of the default identity
	Kind       identity.Kind
	Protection keystore.Protection
	Config     config.Config
}

// CheckDir refuses a home whose socket no system could open.
func CheckDir(dir string) error {
	if n := len(filepath.Join(dir, Socket)); n > maxSocket {
		return fault.New(fault.Failed, "choose a shorter --home", "the path of the home's socket would have %d bytes, and a socket's path has at most %d", n, maxSocket)
	}
	return nil
}

// Init makes a home: keys, the default identity, configuration. It refuses to
// overwrite, and leaves nothing behind when it fails. The recovery secret is
// returned once and kept nowhere.
func Init(dir string, o Options) (h *Home, recovery string, err error) {
	if err := CheckDir(dir); err != nil {
		return nil, "", err
	}
	p, recovery, err := newIdentity(o.Name, o.Kind)
	if err != nil {
		return nil, "", err
	}
	c := keystore.NewContents()
	c.Identities = []keystore.Identity{*p}
	text, err := o.Config.Bytes()
	if err != nil {
		return nil, "", err
	}
	if err := free(dir); err != nil {
		return nil, "", err
	}
	made, err := makeFolder(dir)
	if err != nil {
		return nil, "", err
	}
	var files []string // what is this init's own, and goes when it fails
	defer func() {
		if err == nil {
			return
		}
		for _, name := range files {
			os.Remove(filepath.Join(dir, name))
		}
		if made {
			os.Remove(dir) // only if empty
		}
	}()
	if err := keystore.Create(dir, c, o.Protection); err != nil {
		if errors.Is(err, keystore.ErrExists) { // made since free looked
			return nil, "", fault.New(fault.Failed, "choose another --home", "%s is initialised already", dir)
		}
		return nil, "", err
	}
	files = []string{"keys.age", "keys.plain", "keys.lock", config.File}
	if err := disk.Replace(filepath.Join(dir, config.File), text); err != nil {
		return nil, "", err
	}
	h, err = Open(dir, func() ([]byte, error) { return o.Protection.Passphrase, nil })
	return h, recovery, err
}

// free refuses a folder that is a home, or that was one: new keys would not open
// what an old home left, and could never be told apart from its own.
func free(dir string) error {
	for _, name := range []string{"keys.age", "keys.plain"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Failed, "choose another --home", "%s is initialised already", dir)
		}
	}
	for _, name := range []string{config.File, NetworkFile, "store", "slots", "audit"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Failed, "choose another --home, or restore the keys that belong there", "%s has no keys and yet holds %s of another home", dir, name)
		}
	}
	return nil
}

// makeFolder makes the folder of a home where there is none.
func makeFolder(dir string) (made bool, err error) {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, os.MkdirAll(dir, 0o700)
}

// Open reads a home. The passphrase is asked for only where keys need one.
func Open(dir string, passphrase func() ([]byte, error)) (*Home, error) {
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	keys, err := keystore.Open(dir, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Failed, "make one with `cerebrum init`", "there is no home at %s", dir)
	}
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	h := &Home{Dir: dir, Config: cfg, keys: keys}
	if err := h.load(); err != nil {
		return nil, err
	}
	raw, err := NetworkText(filepath.Join(dir, NetworkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	if h.Network, err = DecodeNetwork(raw); err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "adopt the network again with `cerebrum network use FILE`", "%s", NetworkFile)
	}
	if h.Committee, err = h.Network.Committee(); err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "adopt the network again with `cerebrum network use FILE`", "%s", NetworkFile)
	}
	return h, nil
}

func (h *Home) load() error {
	contents := h.keys.Contents()
	var principals []*Principal
	for _, k := range contents.Identities {
		id, err := identity.Parse(k.Document)
		if err != nil {
			return fmt.Errorf("stored identity %s: %w", k.Name, err)
		}
		device, err := statement.KeyFromSeed(k.Device)
		if err != nil {
			return err
		}
		opener, err := keystore.NewOpener(string(k.Recipient))
		if err != nil {
			return err
		}
		secret := string(k.Recipient)
		_, current := id.DeviceIndex(device.Public())
		principals = append(principals, &Principal{
			Name: k.Name, Identity: id, Device: device, Current: current, Opener: opener, Secret: func() string { return secret },
		})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contents, h.principals = contents, principals
	return nil
}

func (h *Home) kept() *keystore.Contents {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.contents
}

// PeerSeed is the seed of the libp2p key.
func (h *Home) PeerSeed() []byte { return h.kept().Peer }

// PeerKey is the public half of the libp2p key.
func (h *Home) PeerKey() statement.PublicKey {
	h.peerOnce.Do(func() {
		k, err := statement.KeyFromSeed(h.kept().Peer)
		if err != nil {
			panic("home: keystore gave a damaged seed") // checked when it was opened
		}
		h.peer = k.Public()
	})
	return h.peer
}

// Master wraps the keys of the erasable store.
func (h *Home) Master() []byte { return h.kept().Master }

// AuditLog is how the home's audit log is opened: its key, and the signed
// statement of whose log it is. A home made before homes had a log key gets it
// here, durably; the home's lock is to be held.
func (h *Home) AuditLog() (audit.Config, error) {
	if h.kept().Format == 1 {
		if err := h.changeKeys(func(c *keystore.Contents) error { c.Upgrade(); return nil }); err != nil {
			return audit.Config{}, err
		}
	}
	log, err := statement.KeyFromSeed(h.kept().Log)
	if err != nil {
		return audit.Config{}, err
	}
	peer, err := statement.KeyFromSeed(h.kept().Peer)
	if err != nil {
		return audit.Config{}, err
	}
	binding, err := audit.Bind(peer, log)
	return audit.Config{Binding: binding, Key: log}, err
}

// ValidatorKeys are the keys of a committee member.
type ValidatorKeys struct {
	Signing, Log, Witness statement.PrivateKey
	Opener                *keystore.Opener
	Recipient             string
}

// ValidatorKeys returns this home's validator keys; make creates them where
// there are none, otherwise nil is returned.
func (h *Home) ValidatorKeys(make bool) (*ValidatorKeys, error) {
	if len(h.kept().Validators) == 0 {
		if !make {
			return nil, nil
		}
		err := h.changeKeys(func(c *keystore.Contents) error {
			if len(c.Validators) > 0 { // somebody was faster
				return nil
			}
			c.Upgrade()
			v, err := keystore.NewValidator(c.Log)
			c.Validators = []keystore.Validator{v}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	v := h.kept().Validators[0]
	var out ValidatorKeys
	for _, k := range []struct {
		to   *statement.PrivateKey
		seed []byte
	}{{&out.Signing, v.Signing}, {&out.Log, v.Log}, {&out.Witness, v.Witness}} {
		var err error
		if *k.to, err = statement.KeyFromSeed(k.seed); err != nil {
			return nil, err
		}
	}
	var err error
	if out.Opener, err = keystore.NewOpener(string(v.Recipient)); err != nil {
		return nil, err
	}
	out.Recipient, err = keystore.HybridRecipient(string(v.Recipient))
	return &out, err
}

// Card makes this home's signed card; a validator's has its validator keys.
func (h *Home) Card(validator bool, addresses []string) ([]byte, error) {
	p := h.Principals()[0]
	peer, err := statement.KeyFromSeed(h.kept().Peer)
	if err != nil {
		return nil, err
	}
	card := trust.Card{Identity: p.Identity.Record(), Peer: peer.Public(), Addresses: addresses}
	keys := []statement.PrivateKey{p.Device, peer}
	if validator {
		v, err := h.ValidatorKeys(true)
		if err != nil {
			return nil, err
		}
		card.Validator = []trust.Validator{{
			Identity: p.Identity.ID(), Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: peer.Public(),
			Addresses: addresses, Log: v.Log.Public(), Witness: v.Witness.Public(),
		}}
		keys = append(keys, v.Signing)
	}
	s, err := statement.Sign(trust.KindCard, card, keys...)
	if err != nil {
		return nil, err
	}
	return s.Bytes(), nil
}

// CheckNetwork says whether a home could adopt a network now: its record carries
// all signatures and has not expired.
func CheckNetwork(f *trust.File, now time.Time) (*trust.Committee, error) {
	c, err := f.Committee()
	if err != nil {
		return nil, fault.Wrap(fault.Integrity, err, "have every validator and root key sign it with `cerebrum network sign`", "the network file is not complete")
	}
	if err := c.Live(now); err != nil {
		return nil, fault.Wrap(fault.Denied, err, "ask for a newer network file", "the network %s", c.Name)
	}
	return c, nil
}

// UseNetwork adopts a network. A home belongs to one: ids are bound to it.
func (h *Home) UseNetwork(f *trust.File, now time.Time) error {
	c, err := CheckNetwork(f, now)
	if err != nil {
		return err
	}
	if h.Committee != nil && h.Committee.Network() != c.Network() {
		return fault.New(fault.Failed, "use another --home for another network", "this home belongs to the network %s already", h.Committee.Name)
	}
	if err := h.KeepNetwork(f); err != nil {
		return err
	}
	h.Network, h.Committee = f, c
	return nil
}

// KeepNetwork replaces the network file of a home by a later one of the same
// network, durably, which the caller has verified. Only the file changes: the
// fields of an opened home stay as they are.
func (h *Home) KeepNetwork(f *trust.File) error {
	raw, err := EncodeNetwork(f)
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(h.Dir, NetworkFile), raw)
}

// EncodeNetwork writes a network file as text that survives mail.
func EncodeNetwork(f *trust.File) ([]byte, error) {
	raw, err := statement.Marshal(f)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: raw}), nil
}

// maxNetworkText bounds a network file as text, in bytes.
const maxNetworkText = 3 * trust.MaxFile / 2

// NetworkText reads a network file, and no more of another file than shows that it is
// none.
func NetworkText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxNetworkText+1))
}

// DecodeNetwork reads what EncodeNetwork writes and verifies no signature.
func DecodeNetwork(text []byte) (*trust.File, error) {
	if len(text) > maxNetworkText {
		return nil, fmt.Errorf("it is no network file: it has more than %d bytes", maxNetworkText)
	}
	raw, ok := fromArmour(pemType, text)
	if !ok {
		return nil, errors.New("it is no network file, or it is damaged: copy it whole, with nothing around it")
	}
	return trust.ParseFile(raw)
}

// Package localnet makes whole networks on one machine: homes of validators and
// nodes under one folder, a committee record that all of them have signed, and
// real processes that run them over loopback.
//
// # The folder
//
//	D/validator1 ...  D/node1 ...   homes, their keys in plain files
//	D/NAME.log                      what the process NAME logs
//	D/local.network                 the network file
//	D/env                           a shell file: sets PATH and names
//	D/state.json                    names, homes, process ids
//
// Nothing restarts by itself. Ports are chosen once and stay in each home's
// configuration, so that what was killed can be started again where it was.
package localnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/config"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// Roles of processes.
const (
	RoleNode      = "node"
	RoleValidator = "validator"
)

// Names in the folder.
const (
	StateFile   = "state.json"
	EnvFile     = "env"
	NetworkFile = "local.network"
)

// Plan is what a network shall be.
type Plan struct {
	Dir     string // absolute; must not exist or be empty
	Nodes   int
	Numbers trust.Numbers // N validators
	Log     string        // level of the processes' logs; default info
	// Hosts are the addresses that the processes listen on, IPv4, validators first.
	// Empty: all share this machine's loopback interface.
	Hosts []string
	Now   func() time.Time
}

// Process is one member.
type Process struct {
	Name  string   `json:"name"`
	Role  string   `json:"role"`
	PID   int      `json:"pid"` // 0: never started
	Home  string   `json:"home"`
	Addrs []string `json:"addrs"`
}

// Log is the file that the process logs to.
func (p *Process) Log(dir string) string { return filepath.Join(dir, p.Name+".log") }

// Network is a network in a folder.
type Network struct {
	Dir       string     `json:"dir"`
	ID        string     `json:"network"`
	Program   string     `json:"program"` // the binary that runs it
	Processes []*Process `json:"processes"`
}

// Create makes the homes and the network file. It starts nothing. When it fails
// nothing is left.
func Create(p Plan) (n *Network, err error) {
	if err := p.Numbers.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, err, "4 validators with threshold 3 survive one failure", "such a committee is refused")
	}
	if members := int(p.Numbers.N) + p.Nodes; len(p.Hosts) > 0 && len(p.Hosts) != members {
		return nil, fault.New(fault.Usage, "", "%d hosts for %d members", len(p.Hosts), members)
	}
	if p.Nodes < 0 || p.Nodes > 64 {
		return nil, fault.New(fault.Usage, "", "a local network has at most 64 nodes")
	}
	if err := claim(p.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(p.Dir)
		}
	}()
	n = &Network{Dir: p.Dir}
	for i := range int(p.Numbers.N) {
		n.Processes = append(n.Processes, &Process{Name: fmt.Sprintf("validator%d", i+1), Role: RoleValidator})
	}
	for i := range p.Nodes {
		n.Processes = append(n.Processes, &Process{Name: fmt.Sprintf("node%d", i+1), Role: RoleNode})
	}
	ports, err := freePorts(len(n.Processes))
	if err != nil {
		return nil, err
	}
	homes := make([]*home.Home, len(n.Processes))
	for i, m := range n.Processes {
		host := loopback
		if len(p.Hosts) > 0 {
			host = p.Hosts[i]
		}
		if homes[i], err = n.settle(m, host, ports[i], p.Log); err != nil {
			return nil, err
		}
	}
	return n, n.found(p, homes)
}

const loopback = "127.0.0.1"

// settle makes the home of a process.
func (n *Network) settle(m *Process, host string, port int, log string) (*home.Home, error) {
	m.Home = filepath.Join(n.Dir, m.Name)
	m.Addrs = []string{fmt.Sprintf("/ip4/%s/tcp/%d", host, port), fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", host, port)}
	h, _, err := home.Init(m.Home, home.Options{
		Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true},
		Config: config.Config{Listen: m.Addrs, Log: log, Local: host == loopback},
	})
	return h, err
}

// Grow makes the home of one more process, which belongs to no network yet: its
// card goes into a draft of the next committee record, and when it has adopted
// that one [Network.Restart] starts it.
func (n *Network) Grow(name, role string) (*Process, error) {
	if _, err := n.Find(name); err == nil {
		return nil, fault.New(fault.Usage, "choose another name", "the network has a process %q already", name)
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	m := &Process{Name: name, Role: role}
	if _, err := n.settle(m, loopback, ports[0], ""); err != nil {
		return nil, err
	}
	n.Processes = append(n.Processes, m)
	if err := n.save(); err != nil {
		return nil, err
	}
	return m, n.writeEnv()
}

// claim makes the folder, or takes an empty one.
func claim(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fault.New(fault.Failed, "choose another --dir, or end the network there with `cerebrum testnet down --dir`", "%s is not empty", dir)
	}
	return nil
}

// found signs the committee record with every validator and a root key, and has
// every home adopt it. The root key is the first validator's identity: on one
// machine there is no better place.
func (n *Network) found(p Plan, homes []*home.Home) error {
	g := trust.Founding{Name: "local", Numbers: p.Numbers}
	var keys []statement.PrivateKey
	for i, m := range n.Processes {
		h := homes[i]
		id := h.Principals()[0].Identity.ID()
		if m.Role == RoleNode {
			g.Nodes = append(g.Nodes, trust.Member{Peer: h.PeerKey(), Identity: id})
			continue
		}
		v, err := h.ValidatorKeys(true)
		if err != nil {
			return err
		}
		keys = append(keys, v.Signing)
		g.Validators = append(g.Validators, trust.Validator{
			Identity: id, Signing: v.Signing.Public(), Recipient: v.Recipient, Peer: h.PeerKey(), Addresses: m.Addrs,
			Log: v.Log.Public(), Witness: v.Witness.Public(),
		})
	}
	root := homes[0].Principals()[0].Device
	g.Roots = []statement.PublicKey{root.Public()}
	file, id, err := g.Draft(policy.Builtin(), p.Now())
	if err != nil {
		return err
	}
	for _, k := range append(keys, root) {
		if _, err := file.Sign(k); err != nil {
			return err
		}
	}
	n.ID = id.String()
	for _, h := range homes {
		if err := h.UseNetwork(file, p.Now()); err != nil {
			return err
		}
	}
	text, err := home.EncodeNetwork(file)
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(n.Dir, NetworkFile), text)
}

// freePorts finds ports that are free for TCP and UDP. Somebody else may take
// one before it is used; starting then fails and says so.
func freePorts(count int) (ports []int, err error) {
	var open []interface{ Close() error }
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for tries := 0; len(ports) < count && tries < 20*count; tries++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			continue
		}
		open = append(open, u)
		ports = append(ports, port)
	}
	if len(ports) < count {
		return nil, fault.New(fault.Failed, "end programs that hold ports", "there are not enough free ports on the loopback interface")
	}
	return ports, nil
}

// Load reads the state of a network in a folder.
func Load(dir string) (*Network, error) {
	raw, err := os.ReadFile(filepath.Join(dir, StateFile))
	if err != nil {
		return nil, fault.New(fault.Failed, "start one with `cerebrum testnet up --dir`", "there is no local network in %s", dir)
	}
	var n Network
	if err := json.Unmarshal(raw, &n); err != nil || n.Dir == "" {
		return nil, fault.New(fault.Failed, "remove the folder by hand", "%s in %s is damaged", StateFile, dir)
	}
	return &n, nil
}

func (n *Network) save() error {
	raw, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(n.Dir, StateFile), raw)
}

// Find is the process of a name.
func (n *Network) Find(name string) (*Process, error) {
	for _, p := range n.Processes {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fault.New(fault.Usage, "see `cerebrum testnet status`", "the network has no process %q", name)
}

// each runs fn for every process, a few at a time, and joins the errors.
func (n *Network) each(fn func(*Process) error) error {
	errs := make([]error, len(n.Processes))
	limit := make(chan struct{}, max(4, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for i, p := range n.Processes {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			errs[i] = fn(p)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

package testnet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/testnet/localnet"
)

// These tests give each member a network namespace: an interface, addresses and
// routes of its own, as if it were a machine. A namespace is a switch that all are
// plugged into, as 9.9.77.0/24 (any public block would do: nothing leaves).
// API sockets are files, so that commands reach members from outside.

const subnet = "9.9.77."

// lan is a network whose members have machines of their own.
type lan struct {
	*world
	prefix  string            // of the namespaces' names
	hub     string            // the switch
	hosts   map[string]string // member -> address
	running map[string]*exec.Cmd
}

var lans atomic.Int32

// newLAN makes the machines and the homes, and starts nothing. Members of inside
// get no machine on the switch yet.
func newLAN(t *testing.T, nodes int, inside ...string) *lan {
	t.Helper()
	if testing.Short() {
		t.Skip("long")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("network namespaces need the program ip: %v", err)
	}
	t.Parallel()
	sweepNamespaces(t)
	tmp := scratch(t)
	l := &lan{
		world: &world{t, filepath.Join(tmp, "net"), tmp}, prefix: fmt.Sprintf("cb-%d-%d-", os.Getpid(), lans.Add(1)),
		hosts: map[string]string{}, running: map[string]*exec.Cmd{},
	}
	l.hub = l.prefix + "hub"
	if out, err := exec.Command("ip", "netns", "add", l.hub).CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not permitted here: %s", bytes.TrimSpace(out))
	}
	t.Cleanup(l.tearDown)
	l.ip("-n", l.hub, "link", "set", "lo", "up")
	l.ip("-n", l.hub, "link", "add", "br0", "type", "bridge")
	l.ip("-n", l.hub, "link", "set", "br0", "up")
	numbers := trust.Default(4)
	var names, hosts []string
	for i := range int(numbers.N) {
		names = append(names, fmt.Sprintf("validator%d", i+1))
	}
	for i := range nodes {
		names = append(names, fmt.Sprintf("node%d", i+1))
	}
	for i, name := range names {
		host := fmt.Sprint(subnet, i+1)
		if slices.Contains(inside, name) {
			host = "0.0.0.0"
		} else {
			l.plug(name, host)
		}
		l.hosts[name] = host
		hosts = append(hosts, host)
	}
	if _, err := localnet.Create(localnet.Plan{Dir: l.dir, Nodes: nodes, Numbers: numbers, Hosts: hosts, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lan) ns(name string) string { return l.prefix + name }

func (l *lan) ip(args ...string) {
	l.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in runs a program in a machine.
func (l *lan) in(name string, args ...string) {
	l.Helper()
	l.ip(append([]string{"netns", "exec", l.ns(name)}, args...)...)
}

// machine makes a namespace with nothing but a loopback interface.
func (l *lan) machine(name string) {
	l.Helper()
	l.ip("netns", "add", l.ns(name))
	l.ip("-n", l.ns(name), "link", "set", "lo", "up")
}

// plug makes a machine on the switch. Its cable has its name at the switch.
func (l *lan) plug(name, address string) {
	l.Helper()
	l.machine(name)
	if out, err := exec.Command("ip", "-n", l.hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", l.ns(name)).CombinedOutput(); err != nil {
		l.Skipf("this kernel makes no pair of interfaces: %s", bytes.TrimSpace(out))
	}
	l.ip("-n", l.hub, "link", "set", name, "master", "br0", "up")
	l.ip("-n", l.ns(name), "addr", "add", address+"/24", "dev", "eth0")
	l.ip("-n", l.ns(name), "link", "set", "eth0", "up")
}

// cable pulls a machine's cable at the switch, or puts it back.
func (l *lan) cable(state string, names ...string) {
	l.Helper()
	for _, name := range names {
		l.ip("-n", l.hub, "link", "set", name, state)
	}
}

// start runs members in their machines and waits until all are healthy.
func (l *lan) start(names ...string) {
	l.Helper()
	for _, name := range names {
		log, err := os.OpenFile(filepath.Join(l.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			l.Fatal(err)
		}
		c := exec.Command("ip", "netns", "exec", l.ns(name), program, "--home", filepath.Join(l.dir, name), "run")
		c.Env, c.Stdout, c.Stderr = environment(""), log, log
		// Should the test be killed, its members end with it, and their namespaces
		// are removed by the next test.
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		err = c.Start()
		log.Close()
		if err != nil {
			l.Fatal(err)
		}
		l.running[name] = c
	}
	for _, name := range names {
		l.eventually(name+" is healthy", func() bool { return l.status(name)["healthy"] == true })
	}
}

// end ends members in order.
func (l *lan) end(names ...string) {
	for _, name := range names {
		c := l.running[name]
		if c == nil {
			continue
		}
		delete(l.running, name)
		c.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { c.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			l.Errorf("%s does not end", name)
			c.Process.Kill()
			<-done
		}
	}
}

// status is empty for a member that does not answer. The command would take the
// home of one that is just starting.
func (l *lan) status(name string) (f facts) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := client.Dial(ctx, filepath.Join(l.dir, name))
	if c == nil {
		return nil
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil || json.Unmarshal(raw, &f) != nil {
		l.Fatalf("the status of %s is no JSON: %v", name, err)
	}
	return f
}

func (l *lan) members() (names []string) {
	for name := range l.hosts {
		names = append(names, name)
	}
	return names
}

// tearDown ends everything and removes every namespace of this test.
func (l *lan) tearDown() {
	l.end(l.members()...)
	if l.Failed() {
		l.showLogs()
	}
	noneLeft(l.T, l.dir)
	for _, ns := range namespaces() {
		if strings.HasPrefix(ns, l.prefix) {
			if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
				l.Errorf("removing %s: %s", ns, out)
			}
		}
	}
}

func namespaces() (names []string) {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sweepNamespaces removes what a test left that was killed: its process is gone.
func sweepNamespaces(t *testing.T) {
	t.Helper()
	for _, ns := range namespaces() {
		parts := strings.Split(ns, "-")
		if len(parts) != 4 || parts[0] != "cb" {
			continue
		}
		pid, err := strconv.Atoi(parts[1])
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		t.Logf("removing %s, which an earlier test left", ns)
		exec.Command("ip", "netns", "del", ns).Run()
	}
}

// configure adds settings to a home.
func (l *lan) configure(name, lines string) {
	l.Helper()
	path := filepath.Join(l.dir, name, "config.toml")
	old, err := os.ReadFile(path)
	if err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, append(old, []byte("\n"+lines+"\n")...), 0o600); err != nil {
		l.Fatal(err)
	}
}

package localnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// The test binary stands in for the program: as the real node, or as one of
// those that a network must not hang on.
const actsAs = "LOCALNET_TEST_ACTS_AS"

// forever outlasts every test. Waiting for nothing at all would end a program
// without cgo: the runtime calls it a deadlock.
const forever = time.Hour

func TestMain(m *testing.M) {
	if len(os.Args) != 4 || os.Args[1] != "--home" {
		os.Exit(m.Run())
	}
	switch os.Getenv(actsAs) {
	case "node":
		ctx, stop := ossignal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		env := &cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Now: time.Now}
		code := cli.Main(ctx, env, cli.Root(env), os.Args[1:])
		stop()
		os.Exit(code)
	case "dead":
		fmt.Println("first line")
		fmt.Println("why it ended")
		os.Exit(3)
	case "mute":
		<-time.After(forever)
	case "stubborn":
		ossignal.Ignore(os.Interrupt, syscall.SIGTERM)
		fmt.Println("ignoring")
		<-time.After(forever)
	}
	os.Exit(99)
}

// acting makes the next processes act as one of the above.
func acting(t *testing.T, as string) (program string) {
	t.Helper()
	t.Setenv(actsAs, as)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// folder is a short path: a home's socket must fit into one.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ln-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "net")
}

func create(t *testing.T, validators, nodes int) *Network {
	t.Helper()
	n, err := Create(Plan{Dir: folder(t), Nodes: nodes, Numbers: trust.Default(validators), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func nothingRuns(t *testing.T, n *Network) {
	t.Helper()
	for _, p := range n.Processes {
		if n.owns(p) {
			t.Errorf("%s still runs as process %d", p.Name, p.PID)
		}
	}
}

func exitOf(err error) int {
	if err == nil {
		return 0
	}
	return fault.Of(err).Exit
}

func TestCreate(t *testing.T) {
	n := create(t, 4, 2)
	ports := map[string]bool{}
	for _, p := range n.Processes {
		h, err := home.Open(p.Home, func() ([]byte, error) { return nil, errors.New("the keys are plain") })
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if h.Committee == nil || h.Committee.Network().String() != n.ID {
			t.Errorf("%s belongs to another network", p.Name)
		}
		if _, isValidator := h.Committee.ByPeer(h.PeerKey()); isValidator != (p.Role == RoleValidator) {
			t.Errorf("%s is a validator: %v", p.Name, isValidator)
		}
		if p.Role == RoleNode {
			if _, ok := h.Network.Membership(h.Committee, h.PeerKey(), time.Now()); !ok {
				t.Errorf("%s has no membership", p.Name)
			}
		}
		if got := strings.Join(h.Config.Listen, " "); got != strings.Join(p.Addrs, " ") || ports[got] {
			t.Errorf("%s listens on %s", p.Name, got)
		}
		ports[strings.Join(p.Addrs, " ")] = true
		if _, err := os.Stat(filepath.Join(p.Home, home.Socket)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was started: %v", p.Name, err)
		}
		if info, err := os.Stat(p.Home); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", p.Home, info.Mode(), err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(n.Dir, NetworkFile))
	if err != nil || len(raw) == 0 {
		t.Errorf("the network file: %v", err)
	}
	if _, err := Load(n.Dir); exitOf(err) != fault.Failed {
		t.Errorf("a network that was never started loads: %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	taken := folder(t)
	if err := os.MkdirAll(filepath.Join(taken, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(filepath.Dir(folder(t)), strings.Repeat("x", 100))
	for _, c := range []struct {
		name string
		plan Plan
		exit int
		says string
		left bool
	}{
		{"impossible numbers", Plan{Dir: folder(t), Numbers: trust.Numbers{N: 4, F: 1, K: 2, T: 2}}, fault.Usage, "2k >= n+f+1", false},
		{"no numbers", Plan{Dir: folder(t)}, fault.Usage, "1 <= n", false},
		{"too many nodes", Plan{Dir: folder(t), Numbers: trust.Default(1), Nodes: 65}, fault.Usage, "64", false},
		{"less than no nodes", Plan{Dir: folder(t), Numbers: trust.Default(1), Nodes: -1}, fault.Usage, "64", false},
		{"a bad level", Plan{Dir: folder(t), Numbers: trust.Default(1), Log: "loud"}, 0, "loud", false},
		{"a folder in use", Plan{Dir: taken, Numbers: trust.Default(1)}, fault.Failed, "not empty", true},
		{"a path that holds no socket", Plan{Dir: long, Numbers: trust.Default(1)}, 0, "107", false},
	} {
		c.plan.Now = time.Now
		_, err := Create(c.plan)
		if err == nil || !strings.Contains(err.Error(), c.says) || c.exit != 0 && exitOf(err) != c.exit {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Stat(c.plan.Dir); (err == nil) != c.left {
			t.Errorf("%s: the folder: %v", c.name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(taken, "something")); err != nil {
		t.Errorf("what was in the folder is gone: %v", err)
	}
}

func TestGrow(t *testing.T) {
	n := create(t, 4, 1)
	for _, name := range []string{"validator1", "node1"} {
		if _, err := n.Grow(name, RoleValidator); exitOf(err) != fault.Usage {
			t.Errorf("%s is made twice: %v", name, err)
		}
	}
	p, err := n.Grow("validator5", RoleValidator)
	if err != nil {
		t.Fatal(err)
	}
	h, err := home.Open(p.Home, nil)
	if err != nil || h.Network != nil || len(h.Config.Listen) != 2 {
		t.Errorf("its home: %+v, %v", h, err)
	}
	again, err := Load(n.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Find("validator5"); err != nil || got.Home != p.Home || got.PID != 0 {
		t.Errorf("it is not kept: %+v, %v", got, err)
	}
}

func TestFreePorts(t *testing.T) {
	ports, err := freePorts(40)
	if err != nil || len(ports) != 40 {
		t.Fatal(ports, err)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if seen[p] {
			t.Errorf("port %d twice", p)
		}
		seen[p] = true
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Errorf("port %d is not given back: %v", p, err)
			continue
		}
		l.Close()
	}
	if none, err := freePorts(0); err != nil || len(none) != 0 {
		t.Error(none, err)
	}
}

// TestPortTaken takes a port between Create and Start.
func TestPortTaken(t *testing.T) {
	n := create(t, 1, 1)
	victim := n.Processes[1]
	var port int
	if _, err := fmt.Sscanf(victim.Addrs[0], "/ip4/127.0.0.1/tcp/%d", &port); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	program := acting(t, "node")
	err = n.Start(context.Background(), program)
	if err == nil || !strings.Contains(err.Error(), victim.Name) || !strings.Contains(err.Error(), fmt.Sprint(port)) {
		t.Errorf("a taken port: %v", err)
	}
	nothingRuns(t, n)

	// With the port free again the same homes work.
	l.Close()
	if err := n.Start(context.Background(), program); err != nil {
		t.Fatal(err)
	}
	for _, h := range n.Health(context.Background()) {
		if !h.Healthy {
			t.Errorf("%s: %v", h.Name, h.Problems)
		}
	}
	checkLife(t, n, program)
}

// checkLife stops, kills and restarts members of a running network.
func checkLife(t *testing.T, n *Network, program string) {
	t.Helper()
	ctx := context.Background()
	p := n.Processes[1]
	if err := n.Restart(ctx, p, program); exitOf(err) != fault.Failed {
		t.Errorf("a second process on one home: %v", err)
	}
	for _, end := range []func(context.Context, *Process) error{n.Kill, n.StopOne} {
		old := p.PID
		if err := end(ctx, p); err != nil {
			t.Fatal(err)
		}
		if err := end(ctx, p); err != nil { // once more does nothing
			t.Fatal(err)
		}
		if alive(old) {
			t.Errorf("process %d lives", old)
		}
		if h := n.Health(ctx); h[1].Healthy || h[1].Problems[0] != "not running" || !h[0].Healthy {
			t.Errorf("health: %v", h)
		}
		if err := n.Restart(ctx, p, program); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(n.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := loaded.Find(p.Name); err != nil || found.PID != p.PID || p.PID == old {
			t.Errorf("the state has %v, not %d: %v", found, p.PID, err)
		}
	}
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	nothingRuns(t, n)
}

// TestDeadProgram says what the program said last.
func TestDeadProgram(t *testing.T) {
	n := create(t, 1, 0)
	err := n.Start(context.Background(), acting(t, "dead"))
	if err == nil || !strings.Contains(err.Error(), "validator1 ended before it was ready: why it ended") {
		t.Errorf("a program that ends: %v", err)
	}
	nothingRuns(t, n)
	if err := n.Start(context.Background(), filepath.Join(n.Dir, "no-such-program")); err == nil || !strings.Contains(err.Error(), "validator1") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestMuteProgram gives up when the caller does, and leaves nothing.
func TestMuteProgram(t *testing.T) {
	n := create(t, 1, 1)
	ctx, cancel := context.WithCancel(context.Background())
	program := acting(t, "mute")
	go func() {
		for { // until both have been started
			if _, err := Load(n.Dir); err == nil {
				cancel()
				return
			}
			runtime.Gosched()
		}
	}()
	if err := n.Start(ctx, program); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("a program that never answers: %v", err)
	}
	nothingRuns(t, n)

	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Start(gone, program); !errors.Is(err, context.Canceled) {
		t.Errorf("started after all: %v", err)
	}
	nothingRuns(t, n)
}

// TestStubbornProgram kills what does not end when it is asked.
func TestStubbornProgram(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("long, and there is no SIGTERM everywhere")
	}
	n := create(t, 1, 0)
	n.Program = acting(t, "stubborn")
	p := n.Processes[0]
	if err := n.launch(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	for ends(p.Log(n.Dir)) != "ignoring" {
		if !alive(p.PID) {
			t.Fatalf("it ended: %s", ends(p.Log(n.Dir)))
		}
		runtime.Gosched()
	}
	if err := n.StopOne(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	nothingRuns(t, n)
}

// TestForeignProcess never signals a process that only has the same id.
func TestForeignProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("command lines are visible on Linux only")
	}
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Skip(err)
	}
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	n := &Network{Dir: t.TempDir(), Processes: []*Process{{Name: "node1", PID: sleeper.Process.Pid, Home: "/somewhere/node1"}}}
	p := n.Processes[0]
	for _, end := range []func(context.Context, *Process) error{n.Kill, n.StopOne} {
		if err := end(context.Background(), p); err != nil {
			t.Error(err)
		}
	}
	if !alive(sleeper.Process.Pid) {
		t.Error("a foreign process was ended")
	}
	if h := n.Health(context.Background()); h[0].Healthy || h[0].Problems[0] != "not running" {
		t.Errorf("health: %v", h)
	}
	// It would have been found by its own argument, which is there a moment after its start.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !commandLineHas(sleeper.Process.Pid, "600") && time.Since(began) < time.Minute; {
		<-tick.C
	}
	if !commandLineHas(sleeper.Process.Pid, "600") || commandLineHas(sleeper.Process.Pid, "60") {
		t.Error("command lines are not compared by whole arguments")
	}
	sleeper.Process.Kill()
	if !gone(context.Background(), sleeper.Process.Pid, time.Minute) { // a zombie until Wait
		t.Error("a zombie counts as alive")
	}
	for _, pid := range []int{0, -1, 1 << 22} {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); exitOf(err) != fault.Failed || !strings.Contains(err.Error(), dir) {
		t.Errorf("nothing there: %v", err)
	}
	for _, bad := range []string{"", "{", "[]", "null", `{"dir":""}`, `{"dir":7}`} {
		if err := os.WriteFile(filepath.Join(dir, StateFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := Load(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v %v", bad, n, err)
		}
	}
	n := &Network{Dir: dir, Processes: []*Process{{Name: "node1"}}}
	if err := n.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil || len(got.Processes) != 1 {
		t.Fatal(got, err)
	}
	if _, err := got.Find("node2"); exitOf(err) != fault.Usage {
		t.Errorf("a name that is not there: %v", err)
	}
}

// ends is why a process says that it ended.
func ends(path string) string {
	why, _ := lastWords(path)
	return why
}

// Of a process that ends at once a person reads what is wrong, and what to do.
func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := ends(path); got != "no log" {
		t.Errorf("no file: %q", got)
	}
	for content, want := range map[string][2]string{
		"":                                      {"its log is empty"},
		"\n\n":                                  {"its log is empty"},
		"one":                                   {"one"},
		"one\ntwo\n\n  \n":                      {"two"},
		strings.Repeat("x", 9000) + "\nend\n":   {"end"},
		"one\ncerebrum: tampered\n  keep it\n":  {"tampered", "keep it"},
		"cerebrum: tampered\n":                  {"tampered"},
		"cerebrum: old\nbegins again\n  at 1\n": {"at 1"},
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if why, hint := lastWords(path); why != want[0] || hint != want[1] {
			t.Errorf("%.20q: %q and %q are not %q", content, why, hint, want)
		}
	}
}

// TestEnv writes names that a shell could trip over.
func TestEnv(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `it's a "dir" $HOME`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n := &Network{Dir: dir, Program: filepath.Join(dir, "bin", "cerebrum"), Processes: []*Process{
		{Name: "validator1", Home: filepath.Join(dir, "validator1")}, {Name: "node1", Home: filepath.Join(dir, "node1")},
	}}
	if err := n.writeEnv(); err != nil {
		t.Fatal(err)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	out, err := exec.Command(sh, "-c", `. "$1"; printf '%s\n' "$CEREBRUM_TESTNET" "$validator1" "$node1" "$CEREBRUM_HOME" "${PATH%%:*}"`, "sh", filepath.Join(dir, EnvFile)).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{dir, dir + "/validator1", dir + "/node1", dir + "/node1", dir + "/bin", ""}, "\n")
	if string(out) != want {
		t.Errorf("%s is not %s", out, want)
	}
}

// TestCleanEnv keeps the caller's own node out of the network.
func TestCleanEnv(t *testing.T) {
	t.Setenv("CEREBRUM_HOME", "/mine")
	t.Setenv("CEREBRUMLIKE", "stays")
	var kept bool
	for _, v := range cleanEnv() {
		if strings.HasPrefix(v, "CEREBRUM_") {
			t.Errorf("%s is passed on", v)
		}
		kept = kept || v == "CEREBRUMLIKE=stays"
	}
	if !kept {
		t.Error("more than our own variables was taken out")
	}
}

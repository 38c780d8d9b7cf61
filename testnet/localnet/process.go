package localnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/fault"
)

const (
	startTime = 30 * time.Second // for a process to be ready
	stopTime  = 8 * time.Second  // for one to drain
	settle    = 50 * time.Millisecond
)

// Start starts every process and returns when each is healthy. When it fails it
// stops them all.
func (n *Network) Start(ctx context.Context, program string) (err error) {
	n.Program = program
	defer func() {
		if err != nil {
			n.Stop(context.WithoutCancel(ctx))
		}
	}()
	for _, p := range n.Processes { // validators first: the others look for them
		if err := n.launch(ctx, p); err != nil {
			return err
		}
	}
	if err := n.save(); err != nil {
		return err
	}
	if err := n.writeEnv(); err != nil {
		return err
	}
	return n.each(func(p *Process) error { return n.await(ctx, p, isHealthy) })
}

func isHealthy(s *api.Status) bool { return s.Healthy }
func isRunning(s *api.Status) bool { return s.Running }

// launch starts one process in a group of its own, so that Ctrl-C reaches the
// parent alone, which then stops it in order.
func (n *Network) launch(ctx context.Context, p *Process) error {
	log, err := os.OpenFile(p.Log(n.Dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(n.Program, "--home", p.Home, "run")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cleanEnv(), "GOMEMLIMIT=256MiB")
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fault.Wrap(fault.Failed, err, "", "%s cannot be started", p.Name)
	}
	p.PID = cmd.Process.Pid
	go cmd.Wait() // reaps it; whether it lives is asked of its socket
	return ctx.Err()
}

// cleanEnv is the environment without what belongs to the caller's own node.
func cleanEnv() []string {
	var out []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CEREBRUM_") {
			out = append(out, v)
		}
	}
	return out
}

// await waits until a process is as it should be, or is gone.
func (n *Network) await(ctx context.Context, p *Process, ready func(*api.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(settle)
	defer tick.Stop()
	for {
		if s := n.ask(ctx, p); s != nil && ready(s) {
			return nil
		}
		if !alive(p.PID) {
			why, hint := lastWords(p.Log(n.Dir))
			return fault.New(fault.Failed, hint, "%s ended before it was ready: %s", p.Name, why)
		}
		select {
		case <-ctx.Done():
			why, _ := lastWords(p.Log(n.Dir))
			return fault.New(fault.Failed, "look at its log", "%s was not ready in time: %s", p.Name, why)
		case <-tick.C:
		}
	}
}

func (n *Network) ask(ctx context.Context, p *Process) *api.Status {
	c := client.Dial(ctx, p.Home)
	if c == nil {
		return nil
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return nil
	}
	return s
}

// lastWords is the end of a log: its last line or, where a command has ended with an
// error, that and its hint.
func lastWords(path string) (why, hint string) {
	f, err := os.Open(path)
	if err != nil {
		return "no log", ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 4096 {
		f.Seek(-4096, io.SeekEnd)
	}
	why = "its log is empty"
	failed := false // the last line is a command's error
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimRight(s.Text(), " \r")
		if line == "" {
			continue
		}
		if failed && strings.HasPrefix(line, "  ") {
			return why, strings.TrimSpace(line)
		}
		why, failed = strings.CutPrefix(strings.TrimSpace(line), "cerebrum: ")
	}
	return why, ""
}

// Stop ends every process: it asks, waits, and kills what is left. It touches
// only processes that it can tell to be the network's own.
func (n *Network) Stop(ctx context.Context) error {
	return n.each(func(p *Process) error { return n.StopOne(ctx, p) })
}

// StopOne ends one process.
func (n *Network) StopOne(ctx context.Context, p *Process) error {
	if p.PID == 0 || !n.owns(p) {
		return nil
	}
	if err := interrupt(p.PID); err != nil {
		return err
	}
	if gone(ctx, p.PID, stopTime) {
		return nil
	}
	if err := kill(p.PID); err != nil {
		return err
	}
	if !gone(ctx, p.PID, stopTime) {
		return fmt.Errorf("%s (process %d) does not end", p.Name, p.PID)
	}
	return nil
}

// Kill ends one process at once, as a crash would.
func (n *Network) Kill(ctx context.Context, p *Process) error {
	if p.PID == 0 || !n.owns(p) {
		return nil
	}
	if err := kill(p.PID); err != nil {
		return err
	}
	if !gone(ctx, p.PID, stopTime) {
		return fmt.Errorf("%s (process %d) does not end", p.Name, p.PID)
	}
	return nil
}

// owns reports whether a process id still means our process: ids are used again.
func (n *Network) owns(p *Process) bool {
	return alive(p.PID) && commandLineHas(p.PID, p.Home)
}

func gone(ctx context.Context, pid int, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	tick := time.NewTicker(settle)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-ctx.Done():
			return !alive(pid)
		case <-tick.C:
		}
	}
	return true
}

// Restart starts a process that is not running. While other validators are down
// it may have nobody to ask what was revoked and cannot become healthy, so that
// it answers is enough then: otherwise a network of which too many were killed
// could not be started again one by one.
func (n *Network) Restart(ctx context.Context, p *Process, program string) error {
	if n.owns(p) {
		return fault.New(fault.Failed, "kill it first if that is what you want", "%s is running, as process %d", p.Name, p.PID)
	}
	n.Program = program
	if err := n.launch(ctx, p); err != nil {
		return err
	}
	if err := n.save(); err != nil {
		return err
	}
	ready := isHealthy
	for _, other := range n.Processes {
		if other.Role == RoleValidator && !n.owns(other) {
			ready = isRunning
		}
	}
	if err := n.await(ctx, p, ready); err != nil {
		return errors.Join(err, n.StopOne(context.WithoutCancel(ctx), p), n.save())
	}
	return nil
}

// Remove deletes the folder of a network that was stopped.
func (n *Network) Remove() error { return os.RemoveAll(n.Dir) }

// Health is a process and how it is.
type Health struct {
	Process
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems,omitempty"`
}

// Health asks every process.
func (n *Network) Health(ctx context.Context) []Health {
	out := make([]Health, len(n.Processes))
	for i, p := range n.Processes {
		out[i].Process = *p
	}
	n.each(func(p *Process) error {
		for i := range out {
			if out[i].Name != p.Name {
				continue
			}
			switch s := n.ask(ctx, p); {
			case !n.owns(p):
				out[i].Problems = []string{"not running"}
			case s == nil:
				out[i].Problems = []string{"does not answer"}
			default:
				out[i].Healthy, out[i].Problems = s.Healthy, s.Problems
			}
		}
		return nil
	})
	return out
}

// writeEnv writes a shell file that puts the binary on PATH and names the
// folder; homes are chosen with CEREBRUM_HOME.
func (n *Network) writeEnv() error {
	var b strings.Builder
	fmt.Fprintf(&b, "# . %s\n", filepath.Join(n.Dir, EnvFile))
	fmt.Fprintf(&b, "export CEREBRUM_TESTNET=%s\n", quote(n.Dir))
	fmt.Fprintf(&b, "export PATH=%s:\"$PATH\"\n", quote(filepath.Dir(n.Program)))
	for _, p := range n.Processes {
		fmt.Fprintf(&b, "%s=%s\n", p.Name, quote(p.Home))
	}
	if len(n.Processes) > 0 {
		fmt.Fprintf(&b, "export CEREBRUM_HOME=%s\n", quote(n.Processes[len(n.Processes)-1].Home))
	}
	return os.WriteFile(filepath.Join(n.Dir, EnvFile), []byte(b.String()), 0o600)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// MarshalState is the network as `testnet status --json` prints it.
func MarshalState(n *Network, h []Health) ([]byte, error) {
	return json.Marshal(struct {
		Dir       string   `json:"dir"`
		Network   string   `json:"network"`
		Processes []Health `json:"processes"`
	}{n.Dir, n.ID, h})
}

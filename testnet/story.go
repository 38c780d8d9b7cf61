package testnet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/testnet/localnet"
	"github.com/dustin/go-humanize"
)

// node is a running process and the contact of whoever it belongs to.
type node struct {
	api.Service
	contact string
}

func connect(ctx context.Context, p *localnet.Process) (node, error) {
	c := client.Dial(ctx, p.Home)
	if c == nil {
		return node{}, fault.New(fault.Unavailable, "", "%s does not answer", p.Name)
	}
	h, err := openHome(p)
	if err != nil {
		return node{}, err
	}
	return node{c, h.Principals()[0].Identity.Contact()}, nil
}

func openHome(p *localnet.Process) (*home.Home, error) {
	return home.Open(p.Home, func() ([]byte, error) {
		return nil, fault.New(fault.Failed, "", "the keys of a local network are plain")
	})
}

// audit stops the network and checks every log from the outside.
func (d *demo) audit(ctx context.Context) (report, error) {
	if err := d.net.Stop(ctx); err != nil {
		return report{}, err
	}
	var total int64
	for _, p := range d.net.Processes {
		h, err := openHome(p)
		if err != nil {
			return report{}, err
		}
		found, err := audit.Verify(filepath.Join(p.Home, "audit"), h.PeerKey())
		if err != nil {
			return report{}, fault.Wrap(fault.Integrity, err, "", "the log of %s", p.Name)
		}
		if n := found.Signed.N; n == 0 || n != found.Tree.N {
			return report{}, fault.New(fault.Integrity, "", "the log of %s has %d entries, %d of them signed", p.Name, found.Tree.N, n)
		}
		total += found.Tree.N
	}
	return say("%d logs, %d entries, each under a checkpoint that its node signed", len(d.net.Processes), total).
		with("logs", len(d.net.Processes)).with("entries", total), nil
}

func randomFile(path string, n int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, n); err != nil {
		return err
	}
	return f.Close()
}

// sumFile hashes a file twice, the second time from the page cache, and times
// the second.
func sumFile(path string) (n int64, sum [32]byte, took time.Duration, err error) {
	for range 2 {
		f, err := os.Open(path)
		if err != nil {
			return 0, sum, 0, err
		}
		h := sha256.New()
		at := time.Now()
		n, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		took = time.Since(at)
		f.Close()
		if err != nil {
			return 0, sum, 0, err
		}
		sum = [32]byte(h.Sum(nil))
	}
	return n, sum, max(took, time.Microsecond), nil
}

func size64(n int64) string { return humanize.IBytes(uint64(n)) }

func rate(bytesPerSecond float64) string { return fmt.Sprintf("%.0f MB/s", bytesPerSecond/1e6) }

func joined(in []int) string {
	out := make([]string, len(in))
	for i, n := range in {
		out[i] = fmt.Sprint(n)
	}
	return strings.Join(out, ", ")
}

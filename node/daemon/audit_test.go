package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
)

// A node starts on no log but its own, says in one sentence why, and leaves what is
// there as evidence.
func TestALogThatIsNotTheHomesIsRefused(t *testing.T) {
	made := func() *home.Home {
		h, _, err := home.Init(filepath.Join(t.TempDir(), "home"), home.Options{
			Name: "me", Kind: identity.User, Protection: keystore.Protection{Plain: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Open(h, slog.New(slog.NewTextHandler(t.Output(), nil)), time.Now)
		if err != nil { // control: it starts
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for name, c := range map[string]struct {
		spoil      func(dir string) error
		exit       int
		text, hint string
	}{
		"an older format": {func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "entries"), []byte("records"), 0o600)
		}, fault.Failed, "an earlier format", "move the folder"},
		"somebody else's": {func(dir string) error {
			other := filepath.Join(made().Dir, "audit")
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.Rename(other, dir)
		}, fault.Integrity, "the log of another key or peer", "keep a copy"},
		"no checkpoint": {func(dir string) error { return os.Remove(filepath.Join(dir, "checkpoint")) },
			fault.Integrity, "it is missing", "keep a copy"},
	} {
		h := made()
		dir := filepath.Join(h.Dir, "audit")
		if _, err := audit.Verify(dir, h.PeerKey()); err != nil { // control
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.spoil(dir); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n, err := Open(h, slog.New(slog.NewTextHandler(t.Output(), nil)), time.Now)
		if err == nil {
			n.Close()
			t.Errorf("%s: the node starts", name)
			continue
		}
		f := fault.Of(err)
		if f.Exit != c.exit || !strings.Contains(err.Error(), c.text) || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%s: exit %d, %q, hint %q", name, f.Exit, err, f.Hint)
		}
	}
}

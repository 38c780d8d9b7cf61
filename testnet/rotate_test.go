package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/testnet/localnet"
)

// rotate drafts the next record on node1, has members sign it and publishes it
// from another one, all while they run. It returns the file.
func (w *world) rotate(name string, signers []string, publisher string, flags ...string) string {
	w.Helper()
	file := w.path(name + ".network")
	w.ok("node1", append([]string{"network", "rotate", "-o", file}, flags...)...)
	for _, s := range signers {
		w.ok(s, "network", "sign", file)
	}
	w.ok(publisher, "network", "use", file)
	return file
}

// follow waits until members have a version, without being told by hand.
func (w *world) follow(version float64, members ...string) {
	w.Helper()
	for _, m := range members {
		w.eventually(fmt.Sprintf("%s has version %v", m, version), func() bool {
			s := w.ok(m, "status")
			return s.num("version") == version && s["healthy"] == true
		})
	}
}

// meanwhile has a member read an object again and again while do runs, and fails
// where a read does.
func (w *world) meanwhile(member, address string, do func()) {
	w.Helper()
	stop, done := make(chan struct{}), make(chan []result)
	go func() {
		var failed []result
		defer func() { done <- failed }()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			c := w.command(ctx, member, "get", address, "-o", "-")
			var said bytes.Buffer
			c.Stderr = &said
			err := c.Run()
			cancel()
			if err != nil {
				failed = append(failed, result{c.Args[1:], c.ProcessState.ExitCode(), "", said.String()})
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	do()
	close(stop)
	for _, r := range <-done {
		w.Errorf("a read failed meanwhile: %s", r)
	}
}

func (w *world) peersOf(member string) string {
	w.Helper()
	return fmt.Sprint(w.ok(member, "peers").list("peers"))
}

// TestRotation renews a committee and replaces one of its validators while reads
// go on. Nobody is restarted for it, and nobody but one is handed the file.
func TestRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "kept", 50_000)
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	three := []string{"validator1", "validator2", "validator3"}
	everybody := append([]string{"node1", "node2"}, three...)
	rival := w.path("rival.network")
	w.ok("node1", "network", "rotate", "--faults", "0", "-o", rival)

	// One validator misses the renewal.
	w.kill("validator4")
	w.meanwhile("node2", address, func() {
		w.rotate("two", three, "node2")
		w.follow(2, everybody...)
	})
	if said := w.refuse(3, "validator1", "network", "sign", rival); !strings.Contains(said, w.ok("node1", "status").str("record")) {
		t.Errorf("which record was signed first? %s", said)
	}
	w.restart("validator4")
	w.follow(2, "validator4")
	later, second := w.add("node1", "later", 30_000)
	w.grant("node1", later, "node2", "read")
	w.reads("node2", later, second)

	// A fifth one takes its place, and judges.
	if _, err := w.network().Grow("validator5", localnet.RoleValidator); err != nil {
		t.Fatal(err)
	}
	card := w.ok("validator5", "validator", "card").str("card")
	w.meanwhile("node2", address, func() {
		file := w.rotate("three", three, "validator1", "--remove", "4", "--add", card)
		w.ok("validator5", "network", "use", file)
		w.restart("validator5")
		w.follow(3, append(everybody, "validator4", "validator5")...)
	})
	if role := w.ok("validator5", "status").str("role"); role != "validator" {
		t.Errorf("the fifth is a %s", role)
	}
	if role := w.ok("validator4", "status").str("role"); role != "node" {
		t.Errorf("the fourth is a %s still", role)
	}
	path, third := w.file("third", 40_000)
	added := w.ok("node1", "add", path)
	if n := facts(added["deposits"].(map[string]any)).num("acknowledged"); n != 4 {
		t.Errorf("%v of the new committee took a deposit", n)
	}
	w.grant("node1", added.str("address"), "node2", "read")
	w.kill("validator1")
	w.comesToRead("node2", added.str("address"), third)
	w.restart("validator1")

	// Who left stays connected while it may hold shares that others need, until
	// the record after that.
	gone := w.ok("validator4", "status").str("peer_id")
	w.eventually("validator 4 is connected", func() bool { return strings.Contains(w.peersOf("validator2"), gone) })
	w.rotate("four", three, "validator2")
	w.follow(4, append(everybody, "validator5")...)
	w.eventually("validator 4 is gone", func() bool { return !strings.Contains(w.peersOf("validator2"), gone) })
}

// TestEverybodyIsReplaced has all validators replaced at once: what they kept is read
// without a break, though nobody of the old committee sits in the new one.
func TestEverybodyIsReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	t.Parallel()
	w := up(t, "--nodes", "2")
	address, content := w.add("node1", "kept", 50_000)
	w.grant("node1", address, "node2", "read")
	w.reads("node2", address, content)
	var flags, newcomers []string
	for i := range 4 {
		name := fmt.Sprintf("validator%d", 5+i)
		if _, err := w.network().Grow(name, localnet.RoleValidator); err != nil {
			t.Fatal(err)
		}
		newcomers = append(newcomers, name)
		flags = append(flags, "--remove", fmt.Sprint(i+1), "--add", w.ok(name, "validator", "card").str("card"))
	}
	w.meanwhile("node2", address, func() {
		file := w.rotate("two", append([]string{"validator1", "validator2", "validator3"}, newcomers...), "validator1", flags...)
		for _, v := range newcomers {
			w.ok(v, "network", "use", file)
			w.restart(v)
		}
		w.follow(2, append(newcomers, "node1", "node2")...)
	})
	w.comesToRead("node2", address, content)
}

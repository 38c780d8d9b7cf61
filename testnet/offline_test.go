package testnet_test

import "testing"

// A grant for offline use lets its holder read on without validators; any other
// grant does not, though everything else is the same.
func TestOfflineGrants(t *testing.T) {
	t.Parallel()
	w := up(t, "--nodes", "2")
	kept, content := w.add("node1", "kept.bin", 300_000)
	online, _ := w.add("node1", "online.bin", 300_000)
	to := w.contact("node2")
	grant := w.ok("node1", "grant", kept, "--to", to, "--for", "1h", "--offline").str("grant")
	w.grant("node1", online, "node2", "read")
	w.reads("node2", kept, content)
	w.run("node2", "get", online, "-o", w.path("once"))

	// The ciphertext comes by hand; then nobody is needed.
	for _, address := range []string{kept, online} {
		car := w.path("car-" + address[len(address)-6:])
		w.ok("node1", "export", address, "--car", car)
		w.ok("node2", "import", car)
	}
	w.kill("validator1", "validator2")
	got := w.reads("node2", kept, content)
	if len(got.list("releases")) != 0 {
		t.Errorf("validators released a key: %v", got)
	}
	w.denied(5, "node2", online) // the control: without the caveat the committee is needed
	w.stop("node2")
	w.reads("node2", kept, content) // without a node at all
	w.denied(5, "node2", online)
	w.restart("validator1", "validator2", "node2")
	w.eventually("the network is whole again", func() bool {
		return w.run("node1", "revoke", grant).code == 0
	})

	// Once the home knows of the revocation the key is gone.
	w.eventually("node2 knows of the revocation", func() bool {
		return w.run("node2", "get", kept, "-o", w.path("after"), "--force").code == 3
	})
	w.kill("validator1", "validator2")
	w.denied(3, "node2", kept)
}

package daemon

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
)

// rewrite changes a bit of what is sealed beside the newest entry of a node's log, and
// corrects the checksum, as whoever can write the disk and has no key would.
func rewrite(t *testing.T, n *Node) {
	t.Helper()
	path := filepath.Join(n.home.Dir, "audit", "disclosures")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = 28 // see package sidecar: length first, checksum of the item last
	at := 0
	for next := 0; next < len(raw); next += head + int(binary.BigEndian.Uint32(raw[next:])) {
		at = next
	}
	item := raw[at+head:]
	item[len(item)-1] ^= 1
	binary.BigEndian.PutUint32(raw[at+24:], crc32.Checksum(item, crc32.MakeTable(crc32.Castagnoli)))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(raw[at:], int64(at)); err != nil {
		t.Fatal(err)
	}
}

// One item beside the log was rewritten. The log is whole and proves as much as before:
// it can be exported, and what reads it to count says what it could not count.
func TestOneRewrittenDisclosureKeepsNothingElseFromBeingShown(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	address, _ := addSmall(t, n, "x")
	uses := func(times int) {
		t.Helper()
		grant := idOf(n)
		for range times {
			act := event.Act{Actor: idOf(n), Owner: idOf(n), Object: address.Bytes(), Grant: grant[:]}
			if err := n.record(t.Context(), event.Get, event.OK, act); err != nil {
				t.Fatal(err)
			}
		}
	}
	look := func() (reads int, notKnown string) {
		t.Helper()
		r, err := n.ProcessingRecords(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v, err := n.AccessReview(t.Context(), api.AccessReviewRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Records[0].Releases, strings.Join(append(r.NotKnown, v.NotKnown...), "\n")
	}
	uses(3)
	if reads, notKnown := look(); reads != 3 || strings.Contains(notKnown, "uses that") { // control
		t.Fatalf("%d reads; not known: %s", reads, notKnown)
	}
	rewrite(t, n)
	uses(1) // behind it
	if reads, notKnown := look(); reads != 3 || strings.Count(notKnown, "in 1 uses that this node's log has") != 2 {
		t.Errorf("%d reads; not known: %s", reads, notKnown)
	}

	path := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x, err := n.AuditExport(t.Context(), api.AuditExportRequest{Format: "bundle", Into: path})
	if err != nil {
		t.Fatal(err)
	}
	if x.Lost != 1 || x.Damaged != 1 {
		t.Errorf("of the export: %+v", x)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := evidence.Verify(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, evidence.Expect{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Lost != 1 || report.Shown == 0 {
		t.Errorf("%d lost, %d shown", report.Lost, report.Shown)
	}

	// Nobody is handed less of their own than there is, without knowing: that stays refused.
	if _, err := n.SubjectExport(t.Context(), api.SubjectExportRequest{Subject: "me", Format: "json", Into: path}); fault.Of(err).Exit != fault.Integrity {
		t.Errorf("of a subject: %v", err)
	}
}

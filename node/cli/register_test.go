package cli

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/api"
)

// A program that read the register by column number goes on reading what it read, and
// finds past recipients and erasures after it.
func TestRegisterColumns(t *testing.T) {
	rs := &api.ProcessingRecords{Measures: []string{"=measures"}, Records: []api.ProcessingRecord{
		{Object: "gone", Erased: true, ErasedAt: "2026-01-02T03:04:05Z", PastRecipients: []api.PastRecipient{{Identity: "ben", LastRead: "2026-01-01T00:00:00Z"}, {Identity: "cleo"}}},
		{Object: "here"},
		{Object: "old", Erased: true},
	}}
	var out bytes.Buffer
	if err := writeRecords(&out, rs); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	const head = "object,name,controller,categories,classification,purposes,recipients,regions,transfers,retention,created,versions," +
		"reads known here,last access,measures,past recipients,erased"
	if got := strings.Join(rows[0], ","); got != head {
		t.Errorf("columns moved: %s", got)
	}
	for i, want := range []string{
		"'=measures|ben (last read known here 2026-01-01T00:00:00Z); cleo (no read known here)|2026-01-02T03:04:05Z",
		"'=measures||",
		"'=measures||at a time that is not known here",
	} {
		if got := strings.Join(rows[i+1][14:], "|"); got != want {
			t.Errorf("row %d ends with %s", i, got)
		}
	}
	out.Reset()
	printRecords(&out, rs)
	for _, want := range []string{"past recipients   ben (last read known here 2026-01-01T00:00:00Z); cleo (no read known here)\n", "erased            2026-01-02T03:04:05Z\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
}

package publish_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/fault"
)

// Whatever the values are, and whatever format they pass through, they come back.
func TestValuesComeBack(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 12))
	for round := range 20 {
		folder := t.TempDir()
		table := [][]string{{"sex", "text", "code"}}
		for range 60 {
			text := make([]rune, r.IntN(30))
			for i := range text {
				text[i] = []rune("aZ0 ,;\"\n'é漢*-")[r.IntN(13)]
			}
			code := ""
			if r.IntN(5) > 0 {
				code = fmt.Sprintf("%03d/%04d-%d", r.IntN(1000), r.IntN(10000), r.IntN(100))
			}
			table = append(table, []string{"F", strings.TrimLeft(string(text), " -\n"), code}) // what is no formula
		}
		in, out, back := filepath.Join(folder, "in.csv"), filepath.Join(folder, "out"+[]string{".csv", ".jsonl", ".parquet"}[round%3]), filepath.Join(folder, "back.csv")
		writeTable(t, in, ',', table)
		apply := []string{"text=reversible", "code=ff1:digits"}
		run(t, publish.Job{Input: in, Output: out, Quasi: []string{"sex"}, Models: []guarantee.Model{guarantee.K(2)}, Beforehand: applied(t, apply...)})
		rows, err := publish.Reversal{Input: out, Output: back, Steps: applied(t, apply...)}.Run(t.Context())
		if err != nil || rows != 60 {
			t.Fatalf("%d rows, %v", rows, err)
		}
		_, got := readBack(t, back, comma(t, back))
		for i, row := range table[1:] {
			if got[i][1] != row[1] || got[i][2] != row[2] {
				t.Fatalf("round %d: %q comes back as %q", round, row, got[i])
			}
		}
	}
}

// comma is the delimiter of a file whose first column is sex.
func comma(t *testing.T, path string) rune {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	header, err := csv.NewReader(f).Read()
	if err != nil {
		t.Fatal(err)
	}
	return rune(strings.TrimPrefix(strings.Join(header, ","), "sex")[0])
}

// One pseudonym that was changed, in the last row, and nothing is written; nor when nobody
// waits any more.
func TestReversalsThatFailLeaveNothing(t *testing.T) {
	folder := t.TempDir()
	in, out := filepath.Join(folder, "in.csv"), filepath.Join(folder, "out.csv")
	table := [][]string{{"sex", "who"}}
	for i := range 5000 {
		table = append(table, []string{"F", fmt.Sprint("person ", i)})
	}
	writeTable(t, in, ',', table)
	run(t, publish.Job{Input: in, Output: out, Quasi: []string{"sex"}, Models: []guarantee.Model{guarantee.K(2)}, Beforehand: applied(t, "who=reversible")})
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	job := publish.Reversal{Input: out, Output: filepath.Join(t.TempDir(), "back.csv"), Steps: applied(t, "who=reversible")}
	changed := bytes.Clone(raw)
	if at := &changed[len(changed)-9]; *at == 'a' {
		*at = 'b'
	} else {
		*at = 'a'
	}
	if err := os.WriteFile(out, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = job.Run(t.Context())
	if f := fault.Of(err); f.Exit != fault.Integrity || !strings.Contains(f.Message, "line 5001 has in column who") {
		t.Errorf("%v", err)
	}
	// The control, which somebody may wait for or not.
	if err := os.WriteFile(out, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := job.Run(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(job.Output)); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	if rows, err := job.Run(t.Context()); err != nil || rows != 5000 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

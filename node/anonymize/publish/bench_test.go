package publish_test

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
)

const adult = "../../../../shared/data/adult"

// million writes Adult resampled to so many rows: each column of a row comes from the
// same row of Adult but for one in twenty, which comes from another, and ages move by up
// to two years.
func million(b *testing.B, path string, rows int) {
	b.Helper()
	in, err := os.Open(filepath.Join(adult, "adult.csv"))
	if err != nil {
		b.Skip("without the Adult data: ", err)
	}
	defer in.Close()
	c := csv.NewReader(in)
	c.Comma = ';'
	all, err := c.ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	out, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w, r := bufio.NewWriter(out), rand.New(rand.NewPCG(5, 5))
	fmt.Fprintln(w, strings.Join(all[0], ";"))
	table := all[1:]
	row := make([]string, len(all[0]))
	for range rows {
		copy(row, table[r.IntN(len(table))])
		for i := range row {
			if r.IntN(20) == 0 {
				row[i] = table[r.IntN(len(table))][i]
			}
		}
		age, err := strconv.Atoi(row[1])
		if err != nil {
			b.Fatal(err)
		}
		row[1] = strconv.Itoa(max(17, min(90, age+r.IntN(5)-2)))
		fmt.Fprintln(w, strings.Join(row, ";"))
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := out.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMillionRows is a release of a million rows, k = 5 over eight quasi-identifiers,
// from CSV to CSV, in a process of its own, whose most memory it reports. The bar is 6 s
// and 300 MiB. CEREBRUM_BENCH_METHOD takes another method than columns.
func BenchmarkMillionRows(b *testing.B) {
	folder := b.TempDir()
	in := filepath.Join(folder, "in.csv")
	million(b, in, 1_000_000)
	for b.Loop() {
		c := exec.Command(os.Args[0], "-test.run", "^TestReleaseForBenchmark$")
		c.Env = append(os.Environ(), "CEREBRUM_BENCH_IN="+in)
		if out, err := c.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.ReportMetric(mebibytes(c.ProcessState), "MiB-most")
		b.ReportMetric((c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds(), "cpu-s")
	}
}

// TestReleaseForBenchmark is the other process of the benchmark.
func TestReleaseForBenchmark(t *testing.T) {
	in := os.Getenv("CEREBRUM_BENCH_IN")
	if in == "" {
		t.Skip("for the benchmark")
	}
	j := publish.Job{Input: in, Output: in + ".out.csv", Replace: true, Models: []guarantee.Model{guarantee.K(5)}, Suppress: 0.1, Hierarchies: map[string]string{}}
	for _, q := range []string{"age", "education", "marital-status", "native-country", "race", "salary-class", "sex", "workclass"} {
		j.Quasi = append(j.Quasi, q)
		j.Hierarchies[q] = filepath.Join(adult, "adult_hierarchy_"+q+".csv")
	}
	r, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Output.Rows < 900_000 {
		t.Fatalf("%d rows", r.Output.Rows)
	}
}

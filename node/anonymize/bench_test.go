package anonymize_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// The bars are times on one core, of ARX 3.9.2 warm on such a machine in brackets:
// k=2 40 ms (208), k=5 60 ms (350), k=10 80 ms (440), k=100 150 ms (628).
func BenchmarkColumns(b *testing.B) {
	for _, k := range []int{2, 5, 10, 100} {
		benchmarkAdult(b, anonymize.Plan{Models: []guarantee.Model{guarantee.K(k)}, Suppress: 1})
	}
}

// The bars: k=5 200 ms (540) with a GCP of at most 0.0300, k=10 220 ms (909) with one of
// at most 0.0460.
func BenchmarkRows(b *testing.B) {
	for _, k := range []int{5, 10} {
		benchmarkAdult(b, anonymize.Plan{Method: anonymize.Rows, Models: []guarantee.Model{guarantee.K(k)}})
	}
}

// The bar: k=5 15 ms with a GCP of at most 0.0190.
func BenchmarkBoxes(b *testing.B) {
	benchmarkAdult(b, anonymize.Plan{Method: anonymize.Boxes, Models: []guarantee.Model{guarantee.K(5)}})
}

func benchmarkAdult(b *testing.B, plan anonymize.Plan) {
	built := adult(b).build(b)
	b.Run(plan.Models[0].String(), func(b *testing.B) {
		gcp := 0.0
		before, _ := usage(b)
		for b.Loop() {
			r, err := plan.Run(b.Context(), built)
			if err != nil {
				b.Fatal(err)
			}
			if gcp == 0 {
				b.StopTimer()
				gcp = measure.UtilityOf(r.Partition).GCP
				b.StartTimer()
			}
		}
		after, _ := usage(b)
		b.ReportMetric((after-before)/float64(b.N), "cpu-ms/op")
		b.ReportMetric(gcp, "GCP")
	})
}

// A million rows from file to file, with k=5: the bar is 6 s with two cores and 300 MiB
// of memory at most, the generated input not counted.
func BenchmarkMillion(b *testing.B) {
	p := adult(b)
	in := filepath.Join(b.TempDir(), "in.csv")
	million(b, p, in)
	for _, m := range []anonymize.Method{anonymize.Columns, anonymize.Rows, anonymize.Boxes} {
		b.Run(m.String(), func(b *testing.B) {
			before, _ := usage(b)
			combinations := 0
			for b.Loop() {
				plan := anonymize.Plan{Method: m, Models: []guarantee.Model{guarantee.K(5)}, Suppress: 1, Workers: runtime.GOMAXPROCS(0)}
				combinations = fileToFile(b, p, plan, in, in+".out")
			}
			b.ReportMetric(float64(combinations), "combinations")
			after, memory := usage(b)
			b.ReportMetric((after-before)/float64(b.N), "cpu-ms/op")
			b.ReportMetric(memory, "MiB-peak")
		})
	}
}

// million writes rows of the table drawn at random, the age of each moved by up to two
// years and every twentieth of the other values taken from another row.
func million(b *testing.B, p *people, file string) {
	r := rand.New(rand.NewPCG(1, 1))
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for range 1_000_000 {
		for q, value := range p.rows[r.IntN(len(p.rows))] {
			if q > 0 {
				w.WriteByte(';')
			}
			if p.quasi[q] == "age" {
				age, err := strconv.Atoi(value)
				if err != nil {
					b.Fatal(err)
				}
				value = strconv.Itoa(min(100, age+r.IntN(5)-2))
			} else if r.IntN(20) == 0 {
				value = p.rows[r.IntN(len(p.rows))][q]
			}
			w.WriteString(value)
		}
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// fileToFile reads a file twice and writes another, without quotes or checks. It says how
// many combinations there are.
func fileToFile(b *testing.B, p *people, plan anonymize.Plan, in, out string) int {
	builder, err := table.NewBuilder(p.quasi, nil)
	if err != nil {
		b.Fatal(err)
	}
	lines(b, in, len(p.quasi), func(row [][]byte) error { return builder.Add(row, nil) })
	built, err := builder.Build(p.hierarchies)
	if err != nil {
		b.Fatal(err)
	}
	release, err := plan.Run(b.Context(), built)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(out)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<16)
	var text []string
	lines(b, in, len(p.quasi), func(row [][]byte) error {
		i, ok := built.Find(row)
		if !ok {
			return fmt.Errorf("%q is not in the table", row)
		}
		text, _ = release.Partition.Text(text[:0], i)
		for q, s := range text {
			if q > 0 {
				w.WriteByte(';')
			}
			w.WriteString(s)
		}
		return w.WriteByte('\n')
	})
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return built.Len()
}

func lines(b *testing.B, file string, width int, do func([][]byte) error) {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	row := make([][]byte, width)
	for s.Scan() {
		rest := s.Bytes()
		for q := range row {
			row[q], rest, _ = bytes.Cut(rest, []byte(";"))
		}
		if err := do(row); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Err(); err != nil {
		b.Fatal(err)
	}
}

package tabular_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"github.com/parquet-go/parquet-go"
)

// Whatever a file has, it is read as the same table by both passes, or refused; and what
// is written of it is read as it was.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{"", "a,b\n1,2\n", "a;b\r\n\"1\n2\";3\r\n", "\ufeffa\n1\n", "{\"a\":1}\n{\"b\":null}\n", "[{}]", "a\n\xff\n",
		utf16File("a\nb\n", false, true), "{\"a\":{}}", "a\tb\n=1\t\"\"\"\"\n", "PAR1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.HasPrefix(raw, []byte("PAR1")) {
			t.Skip("has a target of its own")
		}
		s, err := tabular.Open(bytes.NewReader(raw), int64(len(raw)), tabular.Options{})
		if err != nil {
			return
		}
		first, err := read(s)
		if err != nil {
			return
		}
		if again, err := read(s); err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("another table: %q, %v", again, err)
		}
		if len(first) == 1 { // JSON lines have columns in rows only
			return
		}
		got, err := read(open(t, write(t, s, tabular.JSONLines), tabular.Options{}))
		if err != nil || !reflect.DeepEqual(got, first) {
			t.Fatalf("%q was written, and %q read: %v", first, got, err)
		}
	})
}

// Where the reader of the standard library takes a file, ours reads the same.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a,b\n\"1\n,\"\"\",\n\n3,4", "a\n\"\"\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\r") || strings.HasPrefix(text, "\ufeff") {
			return // the standard library drops returns within quotes
		}
		want, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		o := tabular.Options{Format: tabular.CSV, Comma: ',', Encoding: tabular.UTF8}
		s, opened := tabular.Open(strings.NewReader(text), int64(len(text)), o)
		if err != nil || len(want) == 0 || opened != nil {
			return
		}
		got, err := read(s)
		if err != nil {
			return // not UTF-8, for one
		}
		if !reflect.DeepEqual(got[1:], append([][]string{}, want[1:]...)) && len(want) > 1 {
			t.Errorf("%q, want %q", got[1:], want[1:])
		}
	})
}

// A line that is taken is JSON, with the same values.
func FuzzJSONLine(f *testing.F) {
	for _, seed := range []string{`{"a":"\ud83d\ude00","b":-1e5}`, `{"a":null , "b":false}`, `{"":1}`, `{"a":"\\"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		s, err := tabular.Open(strings.NewReader(line), int64(len(line)), tabular.Options{Format: tabular.JSONLines, Encoding: tabular.UTF8})
		if err != nil {
			return
		}
		got, err := read(s)
		if err != nil || len(got) < 2 {
			return
		}
		var want map[string]any
		d := json.NewDecoder(strings.NewReader(strings.TrimPrefix(line, "\ufeff")))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q was taken: %v", line, err)
		}
		for c, name := range got[0] {
			text := ""
			switch v := want[name].(type) {
			case string:
				text = v
			case json.Number:
				text = v.String()
			case bool:
				text = map[bool]string{true: "true", false: "false"}[v]
			}
			if got[1][c] != text {
				t.Errorf("%q is %q, want %q", name, got[1][c], text)
			}
		}
	})
}

// A damaged Parquet file is refused, and never ends the program.
func FuzzParquet(f *testing.F) {
	type row struct {
		Name *string
		Age  int64
	}
	var b bytes.Buffer
	name := "a"
	if err := parquet.Write(&b, []row{{&name, 1}, {nil, 2}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("PAR1PAR1"))
	for _, c := range hostileFiles() {
		if len(c.raw) < 4096 {
			f.Add(c.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := tabular.Open(bytes.NewReader(raw), int64(len(raw)), tabular.Options{Format: tabular.Parquet})
		if err == nil {
			read(s)
		}
	})
}

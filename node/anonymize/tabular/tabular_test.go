package tabular_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"github.com/parquet-go/parquet-go"
)

func open(t testing.TB, text string, o tabular.Options) *tabular.Source {
	t.Helper()
	s, err := tabular.Open(strings.NewReader(text), int64(len(text)), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// read returns the columns and then the rows.
func read(s *tabular.Source) (all [][]string, err error) {
	var header []string
	for _, c := range s.Columns() {
		header = append(header, c.Name)
	}
	all = append(all, header)
	_, err = s.Each(context.Background(), func(r *tabular.Row) error {
		var row []string
		for _, c := range r.Cells {
			row = append(row, string(c))
		}
		all = append(all, row)
		return nil
	})
	return all, err
}

func utf16File(text string, big, mark bool) string {
	if mark {
		text = "\ufeff" + text
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func TestFilesThatAreTables(t *testing.T) {
	plain := [][]string{{"name", "town"}, {"Zoë", "Graz"}, {"", "Linz"}}
	for name, c := range map[string]struct {
		text string
		want [][]string
	}{
		"commas":           {"name,town\nZoë,Graz\n,Linz\n", plain},
		"semicolons":       {"name;town\r\nZoë;Graz\r\n;Linz", plain},
		"tabs":             {"name\ttown\nZoë\tGraz\n\tLinz\n", plain},
		"bars":             {"name|town\nZoë|Graz\n|Linz\n", plain},
		"byte order mark":  {"\ufeffname,town\nZoë,Graz\n,Linz\n", plain},
		"Latin-1":          {"name,town\nZo\xeb,Graz\n,Linz\n", plain},
		"Windows-1252":     {"price\n5 \x80\n", [][]string{{"price"}, {"5 €"}}},
		"UTF-16":           {utf16File("name;town\nZoë;Graz\n;Linz\n", false, true), plain},
		"UTF-16BE":         {utf16File("name;town\nZoë;Graz\n;Linz\n", true, true), plain},
		"UTF-16, unmarked": {utf16File("name;town\nZoë;Graz\n;Linz\n", false, false), plain},
		"UTF-16, a pair":   {utf16File("a\n😀\n", false, true), [][]string{{"a"}, {"😀"}}},
		"empty lines":      {"name,town\n\nZoë,Graz\r\n\r\n,Linz\n\n", plain},
		"quotes":           {"a,b\n\"1,\"\"2\"\"\",\"3\n4\r\n5\"\n6\"7,8\n", [][]string{{"a", "b"}, {`1,"2"`, "3\n4\r\n5"}, {`6"7`, "8"}}},
		"a quoted header":  {"\"a;1\",b\n2,3\n", [][]string{{"a;1", "b"}, {"2", "3"}}},
		"a decimal comma":  {"a;b\n1,5;2\n1,7;3\n", [][]string{{"a", "b"}, {"1,5", "2"}, {"1,7", "3"}}},
		"one column":       {"a\n1\n\"\"\n", [][]string{{"a"}, {"1"}, {""}}},
		"no name":          {",b\n1,2\n", [][]string{{"column 1", "b"}, {"1", "2"}}},
		"only a header":    {"a,b\n", [][]string{{"a", "b"}}},
		"JSON lines":       {`{"name":"Zo\u00eb","town":"Graz"}` + "\n\n" + ` {"town" : "Linz", "name":null} `, plain},
		"JSON kinds":       {`{"a":1.50,"b":true}` + "\n" + `{"c":"x"}`, [][]string{{"a", "b", "c"}, {"1.50", "true", ""}, {"", "", "x"}}},
		"JSON, empty":      {`{"a":"\"\\n"}` + "\n{}\n", [][]string{{"a"}, {"\"\\n"}, {""}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, c.text, tabular.Options{})
			got, err := read(s)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q, %v", got, err)
			}
			again, err := read(s) // a second pass sees the same
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Errorf("again: %q, %v", again, err)
			}
			sum, err := s.Each(t.Context(), func(*tabular.Row) error { return nil })
			if err != nil || sum != sha256.Sum256([]byte(c.text)) {
				t.Errorf("the hash is not the file's: %v", err)
			}
		})
	}
}

func TestWhatIsKnownIsNotGuessed(t *testing.T) {
	s := open(t, "a;b,c\n1;2,3\n", tabular.Options{Comma: ','})
	if got, err := read(s); err != nil || !reflect.DeepEqual(got, [][]string{{"a;b", "c"}, {"1;2", "3"}}) {
		t.Errorf("%q, %v", got, err)
	}
	s = open(t, "a\n\xc3\xab\n", tabular.Options{Encoding: tabular.Windows1252})
	if got, err := read(s); err != nil || got[1][0] != "Ã«" {
		t.Errorf("%q, %v", got, err)
	}
	s = open(t, "a,b\n?,NA\n", tabular.Options{Missing: []string{"?", "NA"}})
	if got, err := read(s); err != nil || !reflect.DeepEqual(got[1], []string{"", ""}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := tabular.EncodingNamed("ebcdic"); err == nil || !strings.Contains(err.Error(), "windows-1252") {
		t.Errorf("%v", err)
	}
}

func TestFilesThatAreNoTables(t *testing.T) {
	ascii := strings.Repeat("1,2\n", 400_000) // more than is looked at to recognise the encoding
	for name, c := range map[string]struct {
		text string
		is   error
		says string
	}{
		"nothing":           {"", tabular.ErrEmpty, ""},
		"only line ends":    {"\n\n", tabular.ErrEmpty, ""},
		"a short row":       {"a,b\n1,2\n3\n", tabular.ErrRagged, "line 3 has 1 cells, and the header has 2"},
		"a long row":        {"a,b\n\"1\n2\",3\n4,5,6\n", tabular.ErrRagged, "line 4 has 3 cells"},
		"an open quote":     {"a,b\n1,2\n3,\"4\n5,6\n", tabular.ErrQuote, "line 3 "},
		"after a quote":     {"a,b\n\"1\"x,2\n", tabular.ErrQuote, "line 2 "},
		"bad UTF-8":         {"name\nZoë\nJürgen\nab\xff\n", tabular.ErrEncoding, "line 4 is not in the file's encoding: byte 3 of it is not UTF-8"},
		"bad UTF-8, quoted": {"name\nZoë\nJürgen\n\"x\na\xff\"\n", tabular.ErrEncoding, "line 5 is not in the file's encoding: byte 2 "},
		"a late Latin-1":    {"a,b\n" + ascii + "3,\xe4\n", tabular.ErrEncoding, "line 400002 is not in the file's encoding: byte 3 "},
		"half a character":  {utf16File("a\nb\n", false, true) + "x", tabular.ErrEncoding, "line 3 "},
		"half a pair":       {utf16File("a\nb\n", false, true) + "\x00\xd8\n\x00", tabular.ErrEncoding, "line 3 "},
		"two of a name":     {"a,b,a\n", nil, `two columns are named "a"`},
		"nested":            {`{"a":{"b":1}}` + "\n", tabular.ErrNested, `line 1 holds values within values: field "a"`},
		"a list":            {`{"a":1}` + "\n" + `{"a":[1]}` + "\n", tabular.ErrNested, "line 2 "},
		"an array":          {`[{"a":1}]`, tabular.ErrArray, ""},
		"not JSON":          {`{"a":1}` + "\n" + `{"a":01}` + "\n", nil, "line 2 is not a JSON object"},
		"not an object":     {`{"a":1}` + "\n" + `[1]` + "\n", nil, "line 2 is not a JSON object"},
		"two objects":       {`{"a":1} {"a":2}` + "\n", nil, "line 1 has text after its object"},
		"cut off":           {`{"a":1}` + "\n" + `{"a":"x`, nil, "line 2 is not a JSON object"},
		"a field twice":     {`{"a":1,"a":2}`, nil, `line 1 has the field "a" twice`},
		"a late field":      {strings.Repeat(`{"a":1}`+"\n", 200_000) + `{"b":1}`, tabular.ErrRagged, `line 200001 has a field "b"`},
		"a control":         {"{\"a\":\"\x01\"}", nil, "line 1 is not a JSON object"},
		"not Parquet":       {"PAR1 is not enough", nil, "the Parquet file is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := tabular.Open(strings.NewReader(c.text), int64(len(c.text)), tabular.Options{})
			if err == nil {
				_, err = read(s)
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// endless is a file of so many times the letter a, after a header.
type endless struct {
	head string
	size int64
}

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), e.size-off)
	for i := range n {
		if at := off + i; at < int64(len(e.head)) {
			p[i] = e.head[at]
		} else {
			p[i] = 'a'
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// A line of 1 GiB is refused when 16 MiB of it were seen, in memory of that order.
func TestALineWithoutEnd(t *testing.T) {
	for _, head := range []string{"x,y\n1,", "x,y\n1,\"", "{\"x\":1}\n{\"x\":\""} {
		f := endless{head, 1 << 30}
		s, err := tabular.Open(f, f.size, tabular.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = read(s)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, tabular.ErrTooLong) || !strings.Contains(err.Error(), "line 2 ") {
			t.Errorf("%q: %v", head, err)
		}
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 256 {
			t.Errorf("%q: %d MiB were allocated", head, got)
		}
	}
	f := endless{"", 1 << 30} // not even a header
	if s, err := tabular.Open(f, f.size, tabular.Options{}); err == nil {
		if _, err = read(s); !errors.Is(err, tabular.ErrTooLong) {
			t.Errorf("%v", err)
		}
	}
}

func TestWhoeverLooksEndsIt(t *testing.T) {
	s := open(t, "a\n"+strings.Repeat("1\n", 1_000_000), tabular.Options{})
	enough := errors.New("enough")
	rows := 0
	if _, err := s.Each(t.Context(), func(*tabular.Row) error {
		if rows++; rows == 10 {
			return enough
		}
		return nil
	}); err != enough || rows != 10 {
		t.Errorf("%v after %d rows", err, rows)
	}
	ctx, stop := context.WithCancel(t.Context())
	if _, err := s.Each(ctx, func(*tabular.Row) error { stop(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// write makes a file of rows of another.
func write(t testing.TB, s *tabular.Source, f tabular.Format) string {
	t.Helper()
	var b bytes.Buffer
	w, err := tabular.NewWriter(&b, tabular.WriteOptions{Format: f, Comma: s.Comma(), Columns: s.Columns()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Each(t.Context(), w.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFromEachFormatToEachOther(t *testing.T) {
	const text = "name,age,note\nZoë,31,\"a \"\"b\"\"\nc\"\n,7,\"x,y\"\n <b>,,\n"
	first := open(t, text, tabular.Options{})
	want, err := read(first)
	if err != nil {
		t.Fatal(err)
	}
	formats := []tabular.Format{tabular.CSV, tabular.JSONLines, tabular.Parquet}
	for _, from := range formats {
		middle := write(t, first, from)
		for _, to := range formats {
			s := open(t, middle, tabular.Options{})
			if s.Format() != from {
				t.Errorf("%s is taken for %s", from, s.Format())
			}
			got, err := read(open(t, write(t, s, to), tabular.Options{}))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s to %s: %q, %v", from, to, got, err)
			}
		}
	}
	if got := write(t, open(t, `{"a":1,"b":"2","c":true,"d":null,"e":""}`, tabular.Options{}), tabular.JSONLines); got != `{"a":1,"b":"2","c":true,"d":null,"e":""}`+"\n" {
		t.Errorf("kinds changed: %s", got)
	}
}

func TestParquetTypesStay(t *testing.T) {
	type person struct {
		Name   string
		Age    int32
		Weight float64
		Ok     bool
		Born   int32 `parquet:",date"`
		Seen   int64 `parquet:",timestamp(microsecond)"`
		Cents  int64 `parquet:",decimal(2:9)"`
		Big    uint64
		Town   *string
	}
	graz := "Graz"
	var b bytes.Buffer
	w := parquet.NewGenericWriter[person](&b)
	if _, err := w.Write([]person{{"Zoë", -3, 1.5, true, 0, 1_000_001, -125, 1 << 63, &graz}, {"", 7, 2, false, 19_000, 0, 5, 0, nil}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, b.String(), tabular.Options{})
	want := [][]string{{"Name", "Age", "Weight", "Ok", "Born", "Seen", "Cents", "Big", "Town"},
		{"Zoë", "-3", "1.5", "true", "1970-01-01", "1970-01-01T00:00:01.000001Z", "-1.25", "9223372036854775808", "Graz"},
		{"", "7", "2", "false", "2022-01-08", "1970-01-01T00:00:00Z", "0.05", "0", ""}}
	if got, err := read(s); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	again := open(t, write(t, s, tabular.Parquet), tabular.Options{})
	if !reflect.DeepEqual(again.Columns(), s.Columns()) {
		t.Errorf("types: %v, were %v", again.Columns(), s.Columns())
	}
	if got, err := read(again); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, _, _ := strings.Cut(write(t, s, tabular.JSONLines), "\n"); !strings.HasPrefix(got, `{"Name":"Zoë","Age":-3,"Weight":1.5,"Ok":true,"Born":"1970-01-01"`) && !strings.Contains(got, `"Age":-3,"Weight":1.5,"Ok":true`) {
		t.Errorf("%s", got)
	}
}

func TestParquetWithinParquetIsRefused(t *testing.T) {
	type inner struct{ Street string }
	for name, write := range map[string]func(*bytes.Buffer) error{
		"address": func(b *bytes.Buffer) error {
			return parquet.Write(b, []struct {
				Name    string `parquet:"name"`
				Address inner  `parquet:"address"`
			}{{"a", inner{"b"}}})
		},
		"phones": func(b *bytes.Buffer) error {
			return parquet.Write(b, []struct {
				Name   string   `parquet:"name"`
				Phones []string `parquet:"phones"`
			}{{"a", []string{"1"}}})
		},
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		_, err := tabular.Open(bytes.NewReader(b.Bytes()), int64(b.Len()), tabular.Options{})
		if !errors.Is(err, tabular.ErrNested) || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, []struct{ Raw []byte }{{[]byte{0xff}}}); err != nil {
		t.Fatal(err)
	}
	s := open(t, b.String(), tabular.Options{})
	if _, err := read(s); !errors.Is(err, tabular.ErrEncoding) || !strings.Contains(err.Error(), `row 1 has bytes in column "Raw"`) {
		t.Errorf("%v", err)
	}
}

// Spreadsheets take cells for formulas by how they begin.
func TestNoFormulasInCSV(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": `"'=1+1"`, "@SUM(A1)": `"'@SUM(A1)"`, "+1+1": `"'+1+1"`, "-cmd|x": `"'-cmd|x"`, "\tx": "\"'\tx\"", " =1": `"' =1"`, "-Inf": `"'-Inf"`,
		"-5": "-5", "+4.5e3": "+4.5e3", "a=b": "a=b", "": "", "5-9": "5-9", "-": `"'-"`,
	} {
		var b bytes.Buffer
		w, err := tabular.NewWriter(&b, tabular.WriteOptions{Format: tabular.CSV, Columns: []tabular.Column{{Name: "a"}, {Name: "b"}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&tabular.Row{Cells: [][]byte{[]byte(cell), []byte("z")}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(b.String(), "a,b\n"); got != want+",z\n" {
			t.Errorf("%q is written %q", cell, got)
		}
	}
}

// What is written as CSV, another reader of CSV reads.
func TestOthersReadOurCSV(t *testing.T) {
	text := write(t, open(t, "a,b\n\"x\ny\",\"q\"\"q\"\n\" s\",\n", tabular.Options{}), tabular.CSV)
	got, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || !reflect.DeepEqual(got, [][]string{{"a", "b"}, {"x\ny", `q"q`}, {" s", ""}}) {
		t.Errorf("%q, %v", got, err)
	}
}

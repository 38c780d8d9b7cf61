package tabular_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// crafted is a Parquet file as no library would write it: columns of one row group whose
// pages say what they like.
type crafted struct {
	kind     format.Type
	optional bool
	codec    format.CompressionCodec
	columns  int // 0 is 1
	rows     int64
	pages    [][]byte // headers and bodies, the same for each column
	footer   func([]byte) []byte
}

func thrifted(v any) []byte {
	b, err := thrift.Marshal(new(thrift.CompactProtocol), v)
	if err != nil {
		panic(err)
	}
	return b
}

func (c crafted) file() []byte {
	file := []byte("PAR1")
	meta := format.FileMetaData{Version: 1, NumRows: c.rows, Schema: []format.SchemaElement{{Name: "root"}}}
	group := format.RowGroup{NumRows: c.rows}
	repetition := format.Required
	if c.optional {
		repetition = format.Optional
	}
	for i := range max(1, c.columns) {
		name := string(rune('a' + i))
		meta.Schema = append(meta.Schema, format.SchemaElement{Name: name, Type: &c.kind, RepetitionType: &repetition})
		at := int64(len(file))
		file = append(file, bytes.Join(c.pages, nil)...)
		group.Columns = append(group.Columns, format.ColumnChunk{MetaData: format.ColumnMetaData{Type: c.kind, Encoding: []format.Encoding{format.Plain}, PathInSchema: []string{name},
			Codec: c.codec, NumValues: c.rows, DataPageOffset: at, TotalCompressedSize: int64(len(file)) - at}})
	}
	children := int32(len(meta.Schema) - 1)
	meta.Schema[0].NumChildren = &children
	meta.RowGroups = []format.RowGroup{group}
	raw := thrifted(&meta)
	if c.footer != nil {
		raw = c.footer(raw)
	}
	file = append(file, raw...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(raw))), "PAR1"...)
}

// page is a data page of values and nothing else.
func page(e format.Encoding, values, unpacked int, body []byte) [][]byte {
	return [][]byte{thrifted(&format.PageHeader{Type: format.DataPage, UncompressedPageSize: int32(unpacked), CompressedPageSize: int32(len(body)),
		DataPageHeader: &format.DataPageHeader{NumValues: int32(values), Encoding: e, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE}}), body}
}

func words(values, unpacked int, body []byte) [][]byte {
	return [][]byte{thrifted(&format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: int32(unpacked), CompressedPageSize: int32(len(body)),
		DictionaryPageHeader: &format.DictionaryPageHeader{NumValues: int32(values)}}), body}
}

func pageV2(values, nulls, levels, unpacked int, body []byte) [][]byte {
	return [][]byte{thrifted(&format.PageHeader{Type: format.DataPageV2, UncompressedPageSize: int32(unpacked), CompressedPageSize: int32(len(body)),
		DataPageHeaderV2: &format.DataPageHeaderV2{NumValues: int32(values), NumNulls: int32(nulls), NumRows: int32(values), DefinitionLevelsByteLength: int32(levels)}}), body}
}

// plain is byte arrays as they are.
func plain(values ...string) (b []byte) {
	for _, v := range values {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return b
}

// delta is the head of numbers by their differences, all of which are as the last.
func delta(total, first, difference int) []byte {
	b := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 128), 4), uint64(total))
	b = binary.AppendVarint(b, int64(first))
	for n := 1; n < total && n < 1<<14; n += 128 {
		b = append(binary.AppendVarint(b, int64(difference)), 0, 0, 0, 0)
	}
	return b
}

// repeated is runs of one value, each of two to six bytes.
func repeated(runs, each int) (b []byte) {
	for range runs {
		b = append(binary.AppendUvarint(b, uint64(each)<<1), 0)
	}
	return b
}

func prefix(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func packed(codec format.CompressionCodec, b []byte) []byte {
	var c compress.Codec = parquet.LookupCompressionCodec(codec)
	out, err := c.Encode(nil, b)
	if err != nil {
		panic(err)
	}
	return out
}

// taken reads a file and says how much memory was allocated for it in all.
func taken(raw []byte) (rows [][]string, bytesTaken uint64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := tabular.Open(bytes.NewReader(raw), int64(len(raw)), tabular.Options{Format: tabular.Parquet})
	if err == nil {
		rows, err = read(s)
	}
	runtime.ReadMemStats(&after)
	return rows, after.TotalAlloc - before.TotalAlloc, err
}

// hostileFiles are small, and say that they are large.
func hostileFiles() map[string]struct {
	raw  []byte
	says string
} {
	const huge = 1<<31 - 1
	one := plain("x")
	zeros := make([]byte, 96<<20)
	stretched := func(codec format.CompressionCodec) crafted {
		return crafted{kind: format.ByteArray, codec: codec, rows: 1, pages: page(format.Plain, 1, 5, packed(codec, zeros))}
	}
	header := func(h *format.PageHeader) [][]byte { return [][]byte{thrifted(h), one} }
	declared := func(packed, unpacked int32) crafted {
		return crafted{kind: format.ByteArray, rows: 1, pages: header(&format.PageHeader{Type: format.DataPage, UncompressedPageSize: unpacked, CompressedPageSize: packed,
			DataPageHeader: &format.DataPageHeader{NumValues: 1}})}
	}
	long := thrifted(&format.PageHeader{Type: format.DataPage, UncompressedPageSize: 5, CompressedPageSize: 5,
		DataPageHeader: &format.DataPageHeader{NumValues: 1, Statistics: format.Statistics{MinValue: []byte("minimum")}}})
	long = bytes.Replace(long, append([]byte{7}, "minimum"...), append([]byte{0xff, 0xff, 0xff, 0xff, 7}, "minimum"...), 1)
	wide := crafted{kind: format.ByteArray, codec: format.Zstd, columns: 20, rows: 1, pages: page(format.Plain, 1, 30<<20, packed(format.Zstd, plain(string(zeros[:15<<20]), string(zeros[:15<<20-8]))))}
	// What is a list of one text for who looks at kinds is, for who does not, a text of 2 GiB.
	mistaken := append([]byte{0x15, 2, 0x19, 0x18, 0x48, 0xff, 0xff, 0xff, 0xff, 7}, make([]byte, 68)...)
	last := func(raw []byte) []byte { return raw[:len(raw)-1] }
	files := map[string]crafted{
		"a large page":             declared(huge, 5),
		"a large page unpacked":    declared(5, huge),
		"a negative page":          declared(-1, 5),
		"many values":              {kind: format.ByteArray, rows: 1, pages: page(format.Plain, huge, 5, one)},
		"many negative values":     {kind: format.ByteArray, rows: 1, pages: page(format.Plain, -huge, 5, one)},
		"a large dictionary":       {kind: format.ByteArray, rows: 1, pages: append(words(huge, 5, one), page(format.RLEDictionary, 1, 3, []byte{1, 2, 0})...)},
		"two dictionaries":         {kind: format.ByteArray, rows: 1, pages: append(words(1, 5, one), words(1, 5, one)...)},
		"no dictionary":            {kind: format.ByteArray, rows: 1, pages: page(format.RLEDictionary, 1, 3, []byte{1, 2, 0})},
		"long runs of levels":      {kind: format.ByteArray, optional: true, rows: 1, pages: page(format.Plain, 1, 2004, prefix(repeated(400, 1<<24-1)))},
		"long runs of levels, 2":   {kind: format.ByteArray, optional: true, rows: 1, pages: pageV2(1, 0, 2000, 2000, repeated(400, 1<<24-1))},
		"long runs of indexes":     {kind: format.ByteArray, rows: 1, pages: append(words(1, 5, one), page(format.RLEDictionary, 1, 2001, append([]byte{1}, repeated(400, 1<<24-1)...))...)},
		"long runs of truths":      {kind: format.Boolean, rows: 1, pages: page(format.RLE, 1, 2004, prefix(repeated(400, 1<<24-1)))},
		"many differences":         {kind: format.Int64, rows: 1, pages: page(format.DeltaBinaryPacked, 1, len(delta(huge, 0, 0)), delta(huge, 0, 0))},
		"many lengths":             {kind: format.ByteArray, rows: 1, pages: page(format.DeltaLengthByteArray, 1, len(delta(huge, 0, 0)), delta(huge, 0, 0))},
		"long lengths":             {kind: format.ByteArray, rows: 1, pages: page(format.DeltaByteArray, 1000, 2*len(delta(1000, huge, 0)), slices.Repeat(delta(1000, huge, 0), 2))},
		"beginnings that grow":     {kind: format.ByteArray, rows: 1, pages: page(format.DeltaByteArray, 1<<14, 2*len(delta(1<<14, 0, 1))+1<<14, slices.Concat(delta(1<<14, 0, 1), delta(1<<14, 1, 0), zeros[:1<<14]))},
		"more nulls than values":   {kind: format.ByteArray, optional: true, rows: 1, pages: pageV2(1, -huge, 2, 7, append([]byte{2, 1}, one...))},
		"levels without bytes":     {kind: format.ByteArray, optional: true, rows: 1, pages: pageV2(1, 0, huge, 7, append([]byte{2, 1}, one...))},
		"gzip that stretches":      stretched(format.Gzip),
		"zstd that stretches":      stretched(format.Zstd),
		"brotli that stretches":    stretched(format.Brotli),
		"lz4 that stretches":       stretched(format.Lz4Raw),
		"snappy that stretches":    {kind: format.ByteArray, codec: format.Snappy, rows: 1, pages: page(format.Plain, 1, 5, binary.AppendUvarint(nil, 1<<32-1))},
		"lz4 that is none":         {kind: format.ByteArray, codec: format.Lz4Raw, rows: 1, pages: page(format.Plain, 1, 5, []byte{0xff, 0xff, 0xff})},
		"many large pages":         wide,
		"a long minimum":           {kind: format.ByteArray, rows: 1, pages: [][]byte{long, one}},
		"a footer with large list": {kind: format.Int64, footer: func([]byte) []byte { return []byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 7, 0} }},
		"a footer that nests":      {kind: format.Int64, footer: func([]byte) []byte { return bytes.Repeat([]byte{0x1c}, 15<<20) }},
		"lists that nest":          {kind: format.Int64, footer: func([]byte) []byte { return bytes.Repeat([]byte{0x19}, 15<<20) }},
		"a list of another kind":   {kind: format.Int64, footer: func([]byte) []byte { return mistaken }},
		"a footer that ends":       {kind: format.Int64, footer: last},
	}
	out := map[string]struct {
		raw  []byte
		says string
	}{}
	for name, c := range files {
		out[name] = struct {
			raw  []byte
			says string
		}{c.file(), "the Parquet file is damaged"}
	}
	footer := crafted{kind: format.Int64}.file()
	binary.LittleEndian.PutUint32(footer[len(footer)-8:], 1<<32-1)
	out["a large footer"] = struct {
		raw  []byte
		says string
	}{footer, "its description has 4294967295 bytes"}
	return out
}

// A file that was made to do harm is refused before it takes memory: what is allocated in
// all, time and again, for a file of a few kilobytes stays under tens of megabytes, and
// one for which pages of many columns are open at once under what its size allows.
func TestHostileParquetTakesNoMemory(t *testing.T) {
	const most = 48 << 20
	for name, c := range hostileFiles() {
		t.Run(name, func(t *testing.T) {
			_, n, err := taken(c.raw)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
			limit := uint64(most)
			if name == "many large pages" {
				limit = 256 << 20 // two pages, and the buffers they go through
			}
			if n > limit+2*uint64(len(c.raw)) {
				t.Errorf("%d MiB were allocated for a file of %d KiB: %v", n>>20, len(c.raw)>>10, err)
			}
		})
	}
}

// The control: the library by itself believes such a file.
func TestTheLibraryBelievesSizes(t *testing.T) {
	raw := crafted{kind: format.ByteArray, rows: 1, pages: append(words(1, 5, plain("x")), page(format.RLEDictionary, 1, 41, append([]byte{1}, repeated(8, 1<<23)...))...)}.file()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	file, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	pages := file.RowGroups()[0].ColumnChunks()[0].Pages()
	defer pages.Close()
	_, err = pages.ReadPage()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n < 200<<20 {
		t.Errorf("%d MiB for %d bytes (%v): then nothing is guarded against", n>>20, len(raw), err)
	}
	if _, n, err := taken(raw); err == nil || n > 8<<20 {
		t.Errorf("%d MiB, %v", n>>20, err)
	}
}

// The other control: files that are crafted in the same way and say the truth are read.
func TestCraftedParquetThatIsTrue(t *testing.T) {
	abc := plain("a", "bc", "a")
	levels := []byte{6, 1} // three that are there
	indexes := []byte{1, 3, 0b010}
	for name, c := range map[string]crafted{
		"plain":        {kind: format.ByteArray, rows: 3, pages: page(format.Plain, 3, len(abc), abc)},
		"optional":     {kind: format.ByteArray, optional: true, rows: 3, pages: page(format.Plain, 3, len(abc)+6, append(prefix(levels), abc...))},
		"second":       {kind: format.ByteArray, optional: true, rows: 3, pages: pageV2(3, 0, 2, len(abc)+2, append(levels, abc...))},
		"dictionary":   {kind: format.ByteArray, rows: 3, pages: append(words(2, len(plain("a", "bc")), plain("a", "bc")), page(format.RLEDictionary, 3, 3, indexes)...)},
		"lengths":      {kind: format.ByteArray, rows: 3, pages: page(format.DeltaLengthByteArray, 3, len(deltaABC())+4, append(deltaABC(), "abca"...))},
		"two columns":  {kind: format.ByteArray, columns: 2, rows: 3, pages: page(format.Plain, 3, len(abc), abc)},
		"second, zstd": {kind: format.ByteArray, optional: true, codec: format.Zstd, rows: 3, pages: pageV2(3, 0, 2, len(abc)+2, append(levels, packed(format.Zstd, abc)...))},
	} {
		rows, _, err := taken(c.file())
		want := [][]string{{"a"}, {"a"}, {"bc"}, {"a"}}
		if c.columns == 2 {
			want = [][]string{{"a", "b"}, {"a", "a"}, {"bc", "bc"}, {"a", "a"}}
		}
		if err != nil || !reflect.DeepEqual(rows, want) {
			t.Errorf("%s: %q, %v", name, rows, err)
		}
	}
	for _, codec := range []format.CompressionCodec{format.Snappy, format.Gzip, format.Zstd, format.Brotli, format.Lz4Raw} {
		c := crafted{kind: format.ByteArray, codec: codec, rows: 3, pages: page(format.Plain, 3, len(abc), packed(codec, abc))}
		if rows, _, err := taken(c.file()); err != nil || len(rows) != 4 || rows[2][0] != "bc" {
			t.Errorf("%s: %q, %v", codec, rows, err)
		}
		c.pages = page(format.Plain, 3, len(abc)-1, packed(codec, abc)) // one byte more than it says
		if _, _, err := taken(c.file()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: a page that is longer than it says: %v", codec, err)
		}
	}
}

// deltaABC is the lengths 1, 2, 1 by their differences, 1 and -1: two bits each, from -1.
func deltaABC() []byte {
	b := binary.AppendVarint(binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 128), 4), 3), 1)
	return append(append(binary.AppendVarint(b, -1), 2, 0, 0, 0), 0b0010, 0, 0, 0, 0, 0, 0, 0)
}

// A decimal number of few bytes may ask for two billion places, and one of many bytes for
// hours; one of 38 places is read.
func TestDecimals(t *testing.T) {
	for _, c := range []struct {
		scale int
		value []byte
		says  string
	}{
		{38, []byte{1}, ""},
		{1024, bytes.Repeat([]byte{1}, 512), ""},
		{1 << 30, []byte{1}, "have 1073741824 decimal places"},
		{2, bytes.Repeat([]byte{1}, 513), "row 1 has a value of 513 bytes"},
	} {
		schema := parquet.NewSchema("t", parquet.Group{"d": parquet.Decimal(c.scale, 38, parquet.ByteArrayType)})
		var b bytes.Buffer
		w := parquet.NewWriter(&b, schema)
		if _, err := w.WriteRows([]parquet.Row{{parquet.ByteArrayValue(c.value).Level(0, 0, 0)}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		rows, _, err := taken(b.Bytes())
		if c.says == "" && (err != nil || len(rows) != 2 || len(rows[1][0]) < c.scale) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d places, %d bytes: %d rows, %v", c.scale, len(c.value), len(rows), err)
		}
	}
}

// What the library writes in each encoding is read as it was.
func TestEncodings(t *testing.T) {
	type row struct {
		A string  `parquet:"a,delta"`
		B int64   `parquet:"b,delta,gzip"`
		C string  `parquet:"c,dict,zstd"`
		D bool    `parquet:"d,snappy"`
		E *string `parquet:"e,optional,brotli"`
		F float64 `parquet:"f,lz4"`
		G [3]byte `parquet:"g"`
	}
	r := rand.New(rand.NewPCG(4, 4))
	var rows []row
	want := [][]string{{"a", "b", "c", "d", "e", "f", "g"}}
	for i := range 5000 {
		x := row{A: strings.Repeat("ab", r.IntN(40)) + strconv.Itoa(i), B: r.Int64N(1<<40) - 1<<39, C: string(rune('k' + r.IntN(9))), D: r.IntN(2) == 0, F: float64(r.IntN(99)) / 4, G: [3]byte{'x', byte('a' + r.IntN(26)), 'z'}}
		e := ""
		if r.IntN(3) > 0 {
			e = strings.Repeat("é", 1+r.IntN(300))
			x.E = &e
		}
		rows = append(rows, x)
		want = append(want, []string{x.A, strconv.FormatInt(x.B, 10), x.C, strconv.FormatBool(x.D), e, strconv.FormatFloat(x.F, 'f', -1, 64), string(x.G[:])})
	}
	for _, o := range [][]parquet.WriterOption{{}, {parquet.DataPageVersion(1)}, {parquet.DataPageVersion(2)}, {parquet.PageBufferSize(512)}, {parquet.MaxRowsPerRowGroup(700)}} {
		var b bytes.Buffer
		if err := parquet.Write(&b, rows, o...); err != nil {
			t.Fatal(err)
		}
		if got, _, err := taken(b.Bytes()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d rows, %v", len(got), err)
		}
	}
}

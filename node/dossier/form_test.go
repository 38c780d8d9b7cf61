package dossier

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Files that were handed out are checked for years: those that were written before the
// forms were checked byte by byte are good.
func TestFilesOfBeforeAreGood(t *testing.T) {
	for name, want := range map[string]Checked{"events": {Events: 3, Proved: 2, Unproved: 1}, "nothing": {}} {
		for _, form := range []string{".zip", ".json"} {
			raw, err := os.ReadFile(filepath.Join("testdata", name+form))
			if err != nil {
				t.Fatal(err)
			}
			parts, err := Open(raw)
			if err != nil || len(parts) != 4 || string(parts["roles.json"]) != "[]" {
				t.Errorf("%s%s: %d parts, %v", name, form, len(parts), err)
				continue
			}
			c, err := Check(parts)
			if err != nil || c.Events != want.Events || c.Proved != want.Proved || c.Unproved != want.Unproved {
				t.Errorf("%s%s: %+v, %v", name, form, c, err)
			}
		}
	}
}

// bent are the spellings of a good JSON object that a decoder of Go takes for it, or
// that another decoder takes for another.
func bent(t testing.TB, parts []Part) map[string]string {
	t.Helper()
	good := string(written(t, false, append(parts, Part{"empty.json", nil})))
	swap := func(old, now string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is not once in %.300s", old, good)
		}
		return strings.Replace(good, old, now, 1)
	}
	manifest, content, _ := strings.Cut(strings.TrimSuffix(good, "}\n"), `,"parts":`)
	return map[string]string{
		"a part twice":                        swap(`"roles.json":"`, `"roles.json":"e30=","roles.json":"`),
		"other parts in front":                swap(`"parts":{"b`, `"parts":{"roles.json":"e30="},"parts":{"b`),
		"other parts behind, in capitals":     swap("}}\n", `},"PARTS":{"roles.json":"W10="}}`+"\n"),
		"another manifest in front":           swap(`{"manifest":`, `{"manifest":{"format":"x","parts":[]},"manifest":`),
		"capital letters":                     swap(`"manifest"`, `"Manifest"`),
		"a second format":                     swap(`"format":`, `"format":"x","format":`),
		"a second size":                       swap(`"bytes":2`, `"bytes":3,"bytes":2`),
		"an escaped name":                     swap(`"roles.json":`, `"roles\u002ejson":`),
		"bits that base64 does not use":       swap(`"W10="`, `"W11="`),
		"a line end in base64":                swap(`"W10="`, `"W1\n0="`),
		"a raw line end in base64":            swap(`"W10="`, "\"W1\n0=\""),
		"an escape in base64":                 swap(`"W10="`, `"\u005710="`),
		"base64 without its end":              swap(`"W10="`, `"W10"`),
		"an empty text":                       swap(`"empty.json":null`, `"empty.json":""`),
		"a space":                             swap(`,"parts":{`, `, "parts":{`),
		"a space in front":                    " " + good,
		"a space in the list":                 swap(`{"format":`, `{ "format":`),
		"no line end":                         strings.TrimSuffix(good, "\n"),
		"another line end":                    good + "\n",
		"a carriage return":                   strings.TrimSuffix(good, "\n") + "\r\n",
		"parts before the list":               `{"parts":` + content + "," + strings.TrimPrefix(manifest, "{") + "}\n",
		"the list again behind":               strings.TrimSuffix(good, "}\n") + "," + strings.TrimPrefix(manifest, "{") + "}\n",
		"parts in another order":              strings.Replace(swap(`"empty.json":null,`, ""), "}}\n", `,"empty.json":null}}`+"\n", 1),
		"no parts, and null for them":         `{"manifest":{"format":"` + Format + `","parts":[]},"parts":null}` + "\n",
		"no parts, and null for their list":   `{"manifest":{"format":"` + Format + `","parts":null},"parts":{}}` + "\n",
		"no parts, and an extra comma":        `{"manifest":{"format":"` + Format + `","parts":[]},"parts":{},}` + "\n",
		"less than nothing in a part":         `{"manifest":{"format":"` + Format + `","parts":[{"name":"x","bytes":-1,"sha256":""}]},"parts":{"x":null}}` + "\n",
		"more bytes in a part than there are": `{"manifest":{"format":"` + Format + `","parts":[{"name":"x","bytes":9223372036854775807,"sha256":""}]},"parts":{"x":""}}` + "\n",
	}
}

func TestTheJSONFormHasOneSpelling(t *testing.T) {
	parts, _ := logged(t)
	if _, err := Open(written(t, false, append(parts, Part{"empty.json", []byte{}}))); err != nil { // control
		t.Fatal(err)
	}
	if _, err := Open([]byte(`{"manifest":{"format":"` + Format + `","parts":[]},"parts":{}}` + "\n")); err != nil { // control
		t.Fatal(err)
	}
	for name, bad := range bent(t, parts) {
		if got, err := Open([]byte(bad)); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %d parts, %v", name, len(got), err)
		}
	}
}

// copied writes a ZIP file again with its entries changed, in an order.
func copied(t testing.TB, raw []byte, order []int, change func(*zip.FileHeader, []byte) []byte, before func(*zip.Writer, *bytes.Buffer)) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	if before != nil {
		before(w, &out)
	}
	for _, at := range order {
		packed, err := r.File[at].OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(packed)
		if err != nil {
			t.Fatal(err)
		}
		h := r.File[at].FileHeader
		if change != nil && h.Name == "roles.json" {
			content = change(&h, content)
		}
		h.CompressedSize64 = uint64(len(content))
		f, err := w.CreateRaw(&h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// moved puts a byte into a ZIP file and tells the directory, so that readers of the
// directory do not see it.
func moved(t testing.TB, raw []byte, at int) []byte {
	t.Helper()
	out := slices.Concat(raw[:at], []byte("x"), raw[at:])
	le := binary.LittleEndian
	for i := bytes.Index(out, []byte("PK\x01\x02")); i >= 0 && i < len(out)-22; {
		if offset := le.Uint32(out[i+42:]); int(offset) >= at {
			le.PutUint32(out[i+42:], offset+1)
		}
		i += 46 + int(le.Uint16(out[i+28:])) + int(le.Uint16(out[i+30:])) + int(le.Uint16(out[i+32:]))
	}
	end := out[len(out)-22:]
	le.PutUint32(end[16:], le.Uint32(end[16:])+1)
	return out
}

// crooked are ZIP files that unpack to the parts of a good one, with some reader at
// least, and are no file of ours.
func crooked(t testing.TB, parts []Part) map[string][]byte {
	t.Helper()
	good := written(t, true, parts)
	all := []int{0, 1, 2, 3}
	with := func(change func(*zip.FileHeader, []byte) []byte) []byte { return copied(t, good, all, change, nil) }
	header := func(change func(h *zip.FileHeader)) []byte {
		return with(func(h *zip.FileHeader, packed []byte) []byte { change(h); return packed })
	}
	directory := bytes.Index(good, []byte("PK\x01\x02"))
	second := bytes.Index(good[4:], []byte("PK\x03\x04")) + 4
	patched := func(at int, now string) []byte {
		return slices.Concat(good[:at], []byte(now), good[at+len(now):])
	}
	return map[string][]byte{
		"a script in front":                  append([]byte("#!/bin/sh\n"), good...),
		"a script in front, with its length": copied(t, good, all, nil, func(w *zip.Writer, b *bytes.Buffer) { b.WriteString("#!/bin/sh\n"); w.SetOffset(10) }),
		"a byte behind it":                   append(bytes.Clone(good), 'x'),
		"a comment":                          copied(t, good, all, nil, func(w *zip.Writer, _ *bytes.Buffer) { w.SetComment("hello") }),
		"itself as a comment":                copied(t, good, all, nil, func(w *zip.Writer, _ *bytes.Buffer) { w.SetComment(string(good)) }),
		"a byte between parts":               moved(t, good, second),
		"a byte before the directory":        moved(t, good, directory),
		"a byte before all":                  moved(t, good, 0),
		"parts in another order":             copied(t, good, []int{1, 0, 2, 3}, nil, nil),
		"the list at the end":                copied(t, good, []int{1, 2, 3, 0}, nil, nil),
		"a part twice":                       copied(t, good, []int{0, 1, 2, 3, 3}, nil, nil),
		"a part less":                        copied(t, good, []int{0, 1, 2}, nil, nil),
		"nothing":                            copied(t, good, nil, nil, nil),
		"another name in front of the part":  patched(bytes.Index(good, []byte("roles.json")), "holes.json"),
		"another size behind the part":       patched(second-4, "\xff"),
		"another checksum behind the part":   patched(second-12, "\xff\xff\xff\xff"),
		"a comment on a part":                header(func(h *zip.FileHeader) { h.Comment = "x" }),
		"an executable part":                 header(func(h *zip.FileHeader) { h.SetMode(0o777) }),
		"a part that is a link":              header(func(h *zip.FileHeader) { h.SetMode(os.ModeSymlink | 0o777) }),
		"a part of another system":           header(func(h *zip.FileHeader) { h.CreatorVersion = 3<<8 | 20 }),
		"a part in UTF-8":                    header(func(h *zip.FileHeader) { h.Flags |= 0x800 }),
		"a part that is called encrypted":    header(func(h *zip.FileHeader) { h.Flags |= 1 }),
		"a part without its descriptor":      header(func(h *zip.FileHeader) { h.Flags &^= 8 }),
		"more of a part's time":              header(func(h *zip.FileHeader) { h.Extra = append(bytes.Clone(h.Extra), "xx\x00\x00"...) }),
		"no time of a part":                  header(func(h *zip.FileHeader) { h.Extra = nil }),
		//lint:ignore SA1019 this field alone, which Modified would not set
		"another time of a part": header(func(h *zip.FileHeader) { h.ModifiedTime ^= 1 }),
		"another time of a part in seconds": header(func(h *zip.FileHeader) {
			h.Extra = append(bytes.Clone(h.Extra[:5]), 0, 0, 0, 0)
		}),
		"bytes behind a packed part": with(func(h *zip.FileHeader, packed []byte) []byte { return append(packed, "hidden"...) }),
		"a stored part": with(func(h *zip.FileHeader, packed []byte) []byte {
			h.Method = zip.Store
			content, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
			if err != nil {
				t.Fatal(err)
			}
			return content
		}),
		"a part that is longer than it says":  header(func(h *zip.FileHeader) { h.UncompressedSize64-- }),
		"a part that is shorter than it says": header(func(h *zip.FileHeader) { h.UncompressedSize64++ }),
		"a part with another checksum":        header(func(h *zip.FileHeader) { h.CRC32++ }),
		"a part without a checksum":           header(func(h *zip.FileHeader) { h.CRC32, h.Flags = 0, 0 }),
		"a packed size beyond the file":       patched(bytes.LastIndex(good, []byte("PK\x01\x02"))+20, "\xfe\xff\xff\xff"),
		"two parts in one place":              patched(bytes.LastIndex(good, []byte("PK\x01\x02"))+42, "\x00\x00\x00\x00"),
		"a directory that is not there":       patched(len(good)-6, "\xff\xff\xff\xff"),
		"a directory of another size":         patched(len(good)-10, "\x00\x00\x00\x00"),
		"a second disk":                       patched(len(good)-18, "\x01"),
		"half a file":                         good[:len(good)/2],
		"an end without a file":               good[len(good)-22:],
		"a directory without parts":           good[directory:],
	}
}

func TestTheZIPFormHasOneLayout(t *testing.T) {
	parts, _ := logged(t)
	good := written(t, true, parts)
	if again := copied(t, good, []int{0, 1, 2, 3}, nil, nil); !bytes.Equal(again, good) {
		t.Fatal("the control is not the same file")
	}
	if _, err := Open(good); err != nil {
		t.Fatal(err)
	}
	for name, bad := range crooked(t, parts) {
		if got, err := Open(bad); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %d parts, %v", name, len(got), err)
		}
	}
}

// named are both forms of a file whose only part has a name; its list is honest.
func named(t testing.TB, name string) map[string][]byte {
	t.Helper()
	content := []byte("[]")
	sum := sha256.Sum256(content)
	m := Manifest{Format: Format, Parts: []Listed{{name, len(content), hex.EncodeToString(sum[:])}}}
	var asZIP, asJSON bytes.Buffer
	if err := writeZIP(&asZIP, time.Unix(1_800_000_000, 0), m, []Part{{name, content}}); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&asJSON).Encode(document{m, map[string][]byte{name: content}}); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"zip": asZIP.Bytes(), "json": asJSON.Bytes()}
}

// Whoever unpacks a file that was found good writes to the folder that was meant, and
// to no terminal.
func TestPartsHaveGoodNames(t *testing.T) {
	for form, raw := range named(t, "good.json") { // control
		if _, err := Open(raw); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	for _, name := range []string{"../../x\x1b[2J", "..", "/etc/passwd", "a/b", `a\b`, "", "CON ", ManifestName, strings.Repeat("x", 60_000), "é"} {
		for form, raw := range named(t, name) {
			_, err := Open(raw)
			if !errors.Is(err, ErrDossier) {
				t.Errorf("%s with %.40q: %v", form, name, err)
			} else if s := err.Error(); len(s) > 1000 || strings.ContainsAny(s, "\x1b\n") {
				t.Errorf("%s with %.40q: the refusal is %.100q", form, name, s)
			}
		}
	}
}

// The limit of the list leaves room for the longest that is written.
func TestTheLongestListIsRead(t *testing.T) {
	var parts []Part
	for i := range MaxParts {
		parts = append(parts, Part{fmt.Sprintf("%064d.%016d.%016d", i, i, i), bytes.Repeat([]byte("x"), i)})
	}
	for _, asZIP := range []bool{true, false} {
		got, err := Open(written(t, asZIP, parts))
		if err != nil || len(got) != MaxParts {
			t.Errorf("zip %v: %d parts, %v", asZIP, len(got), err)
		}
	}
	sum := sha256.Sum256(nil)
	longest, err := indented(Manifest{Format, slices.Repeat([]Listed{{parts[0].Name, MaxFile, hex.EncodeToString(sum[:])}}, MaxParts)})
	if err != nil || len(longest) > maxManifest {
		t.Errorf("%d bytes, more than %d; %v", len(longest), maxManifest, err)
	}
}

// On a system that takes capital letters for small ones, the part that was not checked
// would be unpacked over the one that was.
func TestNoTwoPartsDifferInCapitalsOnly(t *testing.T) {
	parts := []Part{{EventsName, []byte("{}\n")}, {strings.ToUpper(EventsName), []byte("[]\n")}}
	if _, err := Write(io.Discard, true, time.Unix(1_800_000_000, 0), parts); !errors.Is(err, ErrDossier) {
		t.Errorf("written: %v", err)
	}
	m := Manifest{Format: Format}
	for _, p := range parts {
		sum := sha256.Sum256(p.Content)
		m.Parts = append(m.Parts, Listed{p.Name, len(p.Content), hex.EncodeToString(sum[:])})
	}
	for _, write := range []func(io.Writer) error{
		func(w io.Writer) error { return writeZIP(w, time.Unix(1_800_000_000, 0), m, parts) },
		func(w io.Writer) error { return writeObject(w, m, parts) },
	} {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(out.Bytes()); !errors.Is(err, ErrDossier) {
			t.Errorf("read: %v", err)
		}
	}
}

// A clock that is far off would make a ZIP file that nobody can open.
func TestNoFileIsWrittenThatCannotBeRead(t *testing.T) {
	for _, made := range []time.Time{{}, time.Unix(-1, 0), time.Unix(1<<32, 0)} {
		if _, err := Write(io.Discard, true, made, nil); !errors.Is(err, ErrDossier) {
			t.Errorf("%v: %v", made, err)
		}
	}
	for _, made := range []time.Time{time.Unix(0, 0), time.Unix(1<<31, 0), time.Unix(1<<32-1, 999).In(time.FixedZone("x", 3600))} {
		var out bytes.Buffer
		if _, err := Write(&out, true, made, nil); err != nil {
			t.Errorf("%v: %v", made, err)
		} else if _, err := Open(out.Bytes()); err != nil {
			t.Errorf("%v: %v", made, err)
		}
	}
}

// flood are files of many parts and few bytes for each.
func flood(n int) map[string][]byte {
	le := binary.LittleEndian
	bare := bytes.Repeat(append([]byte("PK\x01\x02"), make([]byte, 42)...), n)
	end := func(n uint16, size, offset uint32) []byte {
		out := append([]byte("PK\x05\x06"), 0, 0, 0, 0)
		out = le.AppendUint32(out, uint32(n)|uint32(n)<<16)
		return append(le.AppendUint32(le.AppendUint32(out, size), offset), 0, 0)
	}
	big := le.AppendUint64([]byte("PK\x06\x06"), 44)
	big = append(big, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, v := range []int{n, n, len(bare), 0} {
		big = le.AppendUint64(big, uint64(v))
	}
	locator := append(le.AppendUint64([]byte("PK\x06\x07\x00\x00\x00\x00"), uint64(len(bare))), 1, 0, 0, 0)
	var object strings.Builder
	object.WriteString(`{"manifest":{"format":"` + Format + `","parts":[]},"parts":{`)
	for i := range n {
		fmt.Fprintf(&object, `"%x":"",`, i)
	}
	object.WriteString(`"x":""}}` + "\n")
	list := `{"manifest":{"format":"` + Format + `","parts":[` + strings.Repeat(`{},`, n) + `{}]},"parts":{}}` + "\n"
	return map[string][]byte{
		"ZIP64":                  slices.Concat(bare, big, locator, end(0xffff, 0xffffffff, 0xffffffff)),
		"a ZIP file":             slices.Concat(bare, end(uint16(n), uint32(len(bare)), 0)),
		"a ZIP file, said small": slices.Concat(bare, end(uint16(n), 46*uint32(uint16(n)), 0)),
		"JSON":                   []byte(object.String()),
		"a list":                 []byte(list),
	}
}

// A count is looked at before memory is taken for what it counts.
func TestManyPartsTakeNoMemory(t *testing.T) {
	for name, raw := range flood(5<<16 + 3) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(raw)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 {
			t.Errorf("%s of %d KiB takes %d KiB", name, len(raw)>>10, took>>10)
		}
	}
}

// A refusal is shown to a person: it does not repeat a megabyte that a stranger wrote.
func TestRefusalsOfFilesAreShort(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, raw := range map[string]string{
		"a member":             `{"` + long + `":1}`,
		"a member of the list": `{"manifest":{"` + long + `":1},"parts":{}}` + "\n",
		"a number":             `{"manifest":{"format":` + strings.Repeat("1", 10<<10) + `},"parts":{}}` + "\n",
		"a format":             `{"manifest":{"format":"` + long[:10<<10] + `\n","parts":[]},"parts":{}}` + "\n",
		"a name":               `{"manifest":{"format":"` + Format + `","parts":[{"name":"` + long[:10<<10] + `\n","bytes":0,"sha256":""}]},"parts":{}}` + "\n",
	} {
		if _, err := Open([]byte(raw)); !errors.Is(err, ErrDossier) {
			t.Errorf("%s: %.200v", name, err)
		} else if s := err.Error(); len(s) > 1000 || strings.Contains(s, "\n") {
			t.Errorf("%s: %d bytes: %.200q", name, len(s), s)
		}
	}
}

// What is opened is opened alike by other readers, and an object is written again as
// the same bytes.
func FuzzOpen(f *testing.F) {
	parts, _ := logged(f)
	f.Add(written(f, true, parts))
	f.Add(written(f, false, parts))
	f.Add([]byte(`{"manifest":{"format":"cerebrum-subject-1","parts":[]},"parts":{}}` + "\n"))
	for _, bad := range bent(f, parts) {
		f.Add([]byte(bad))
	}
	for _, bad := range crooked(f, parts) {
		f.Add(bad)
	}
	for _, bad := range named(f, "../../x\x1b[2J") {
		f.Add(bad)
	}
	for _, bad := range flood(MaxParts + 2) {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Open(raw)
		if err != nil {
			if s := err.Error(); !errors.Is(err, ErrDossier) || len(s) > 1000 || strings.Contains(s, "\n") {
				t.Errorf("%.2000q", s)
			}
			return
		}
		if _, err := Check(got); err != nil && !errors.Is(err, ErrDossier) {
			t.Errorf("%v", err)
		}
		var m Manifest
		others := map[string][]byte{}
		if raw[0] == '{' {
			var d document
			if err := json.Unmarshal(raw, &d); err != nil {
				t.Fatal(err)
			}
			m, others = d.Manifest, d.Parts
		} else {
			z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range z.File {
				content, err := unpacked(f)
				if err != nil {
					t.Fatal(err)
				}
				others[f.Name] = content
			}
			if err := json.Unmarshal(others[ManifestName], &m); err != nil {
				t.Fatal(err)
			}
			delete(others, ManifestName)
		}
		if !maps.EqualFunc(got, others, bytes.Equal) {
			t.Errorf("another reader finds %q, not %q", others, got)
		}
		var again []Part
		for _, l := range m.Parts {
			again = append(again, Part{l.Name, others[l.Name]})
		}
		if raw[0] == '{' && !bytes.Equal(written(t, false, again), raw) {
			t.Errorf("it takes %q for %q", raw, written(t, false, again))
		}
	})
}

func unpacked(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

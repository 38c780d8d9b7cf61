package dossier

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// document is the JSON form.
type document struct {
	Manifest Manifest          `json:"manifest"`
	Parts    map[string][]byte `json:"parts"` // base64; null where a part is empty
}

// errSpelling reports a JSON object that [writeObject] did not write.
var errSpelling = errors.New("it is no JSON as an export is written, or was written again")

func writeObject(w io.Writer, m Manifest, parts []Part) error {
	d := document{Manifest: m, Parts: map[string][]byte{}}
	for _, p := range parts {
		d.Parts[p.Name] = nil
		if len(p.Content) > 0 {
			d.Parts[p.Name] = p.Content
		}
	}
	return json.NewEncoder(w).Encode(d)
}

// readObject reads the one spelling that writeObject makes. A decoder of JSON takes many,
// in which others read other parts, and takes memory for as many parts as there are. So
// only the list is decoded; it says what must follow.
func readObject(raw []byte) (Manifest, map[string][]byte, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"manifest":`))
	between := []byte(`,"parts":{`)
	list, _, found := bytes.Cut(rest[:min(len(rest), maxManifest+len(between))], between) // no name holds quotation marks
	if !ok || !found {
		return Manifest{}, nil, errSpelling
	}
	m, err := readManifest(list, json.Marshal)
	if err != nil {
		return m, nil, err
	}
	rest = rest[len(list)+len(between):]
	listed := slices.SortedFunc(slices.Values(m.Parts), func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	parts := make(map[string][]byte, len(listed))
	for i, l := range listed {
		head := `"` + l.Name + `":`
		if i > 0 {
			head = "," + head
		}
		if rest, ok = bytes.CutPrefix(rest, []byte(head)); !ok {
			return m, nil, fmt.Errorf("the part %s is missing, or not where it belongs", l.Name)
		}
		if parts[l.Name], rest, err = readContent(rest, l.Bytes); err != nil {
			return m, nil, fmt.Errorf("the part %s %w", l.Name, err)
		}
	}
	if string(rest) != "}}\n" {
		return m, nil, errors.New("there is more behind the parts, or less")
	}
	return m, parts, nil
}

// readContent reads the content of a part with a number of bytes, and gives what follows.
func readContent(raw []byte, size int) (content, rest []byte, err error) {
	if size == 0 {
		rest, ok := bytes.CutPrefix(raw, []byte("null"))
		if !ok {
			return nil, nil, errors.New("is not empty")
		}
		return nil, rest, nil
	}
	n := base64.StdEncoding.EncodedLen(size)
	if len(raw) < n+2 || raw[0] != '"' || raw[n+1] != '"' {
		return nil, nil, errors.New("has another size than is listed")
	}
	content = make([]byte, base64.StdEncoding.DecodedLen(n))
	got, err := base64.StdEncoding.Strict().Decode(content, raw[1:n+1]) // with line ends, which it skips, there would be too few bytes
	if err != nil || got != size {
		return nil, nil, errors.New("is not in base64, or not of the listed size")
	}
	return content[:size], raw[n+2:], nil
}

package committee

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Nothing that package fmt, slog or json writes may hold a byte of a secret, in
// any of the forms that they know.
func TestNothingPrintsItself(t *testing.T) {
	secret, shares, _ := fixedDealing()
	share := shares[0]
	type holder struct {
		Share  Share
		Secret Secret
		Ptr    *Share
		Map    map[int]Share
		Sub    Checked
		hidden Secret
		sub    Checked
	}
	v, err := scalarFrom(share.Value[:])
	if err != nil {
		t.Fatal(err)
	}
	b, err := scalarFrom(share.Blinding[:])
	if err != nil {
		t.Fatal(err)
	}
	sub := Checked{&decoded{value: v, blinding: b}}
	h := holder{share, secret, &share, map[int]Share{1: share}, sub, secret, sub}
	raw := share.Value // the control: what a leak looks like
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%o", "%c", "%U", "%t", "%e", "%", "no verb"} {
		for _, v := range []any{share, &share, secret, &secret, h, &h, struct{ s Checked }{sub}, []Share{share}, []Secret{secret}, sub, &sub, []Checked{sub}} {
			out = append(out, fmt.Sprintf(verb, v))
		}
	}
	for _, verb := range []string{"%p", "%w", "%!"} { // package fmt does not ask the value here
		out = append(out, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, []Secret{secret}), fmt.Sprintf(verb, struct{ s Secret }{secret}))
		out = append(out, fmt.Sprintf(verb, sub), fmt.Sprintf(verb, []Checked{sub}), fmt.Sprintf(verb, struct{ s Checked }{sub}))
	}
	out = append(out, fmt.Sprint(share, secret), share.String(), secret.GoString(), share.GoString(), sub.String(), sub.GoString())
	var log bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
		l.Info("x", "share", share, "secret", secret, "holder", h, "shares", shares, "sub", sub)
	}
	out = append(out, log.String())
	js, err := json.Marshal(h)
	if err == nil {
		t.Error("a share was written as JSON")
	}
	out = append(out, string(js), fmt.Sprint(err))
	all := strings.Join(out, "\n")
	for _, b := range [][]byte{share.Value[:], share.Blinding[:], secret.Bytes()} {
		for _, form := range leaks(b) {
			if strings.Contains(all, form) {
				t.Errorf("a secret was printed as %q", form)
			}
		}
	}
	found := 0
	for _, form := range leaks(raw[:]) {
		if strings.Contains(fmt.Sprintf("%v %x %X %d %#v %s %b", raw, raw, raw, raw, raw, raw[:], raw), form) {
			found++
		}
	}
	if found < 5 {
		t.Errorf("control: a leak would be noticed in %d forms only", found)
	}
	if !strings.Contains(fmt.Sprintf("%d", v), leaks(raw[:])[0]) {
		t.Error("control: a decoded scalar would print unnoticed")
	}
}

// leaks are the first bytes of a secret as they may appear in a text.
func leaks(b []byte) []string {
	b = b[:4]
	limb := binary.LittleEndian.Uint32(b) // how a scalar holds them once it is decoded
	return []string{
		fmt.Sprint(limb), fmt.Sprintf("%x", limb), fmt.Sprintf("%X", limb), fmt.Sprintf("%b", limb), fmt.Sprintf("%o", limb),
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), strings.Trim(fmt.Sprint(b), "[]"), string(b),
		strings.Join(strings.Split(strings.Trim(fmt.Sprint(b), "[]"), " "), ","),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("%b", b), "[]"), fmt.Sprintf("% x", b), fmt.Sprintf("% X", b),
	}
}

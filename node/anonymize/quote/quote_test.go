package quote_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// A name that shows stands there as it is; one that would act on what is around it, or be
// taken for nothing, is quoted, and a long one is cut.
func TestNames(t *testing.T) {
	for from, want := range map[string]string{
		"age":                    "age",
		"age, in years":          "age, in years",
		`the "age"`:              `the "age"`,
		"Größe":                  "Größe",
		"می\u200cخواهم":          "می\u200cخواهم",
		"":                       `""`,
		"a\nb":                   `"a\nb"`,
		"a\x1b[2Jb":              `"a\x1b[2Jb"`,
		"\u202egpj.exe":          `"\u202egpj.exe"`,
		"a\u2028b":               `"a\u2028b"`,
		"a\xffb":                 `"a\xffb"`,
		strings.Repeat("ä", 80):  strings.Repeat("ä", 80),
		strings.Repeat("ä", 81):  `"` + strings.Repeat("ä", 80) + `"…`,
		strings.Repeat("\n", 81): `"` + strings.Repeat(`\n`, 80) + `"…`,
	} {
		if got := quote.Name(from); got != want {
			t.Errorf("%.100q became %q, not %q", from, got, want)
		}
	}
}

func TestListsOfNames(t *testing.T) {
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprint("c", i))
	}
	twenty := strings.Join(all[:20], ", ")
	for n, want := range map[int]string{0: "", 1: "c0", 3: "c0, c1, c2", 20: twenty, 21: twenty + " and 1 more", 1000: twenty + " and 980 more"} {
		if got := quote.Names(all[:n]); got != want {
			t.Errorf("%d: %q, not %q", n, got, want)
		}
	}
	if got := quote.Names([]string{"a", "b\nc"}); got != `a, "b\nc"` {
		t.Error(got)
	}
}

// Whatever comes, a sentence with it stays one.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "age", "a\nb", "\xff", "\U000e0001", strings.Repeat("\U000e0001", 100), strings.Repeat("\xff", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{quote.Name(s), quote.Value(s), quote.Names(slices.Repeat([]string{s}, 2))} {
			if len(got) > 2*(quote.MaxRunes*10+8) || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\x1b\u202e\u2028") {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}

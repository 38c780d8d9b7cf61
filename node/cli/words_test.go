package cli

import "testing"

// A name from elsewhere neither acts on the terminal, nor begins a line of its own, nor
// has what stands beside it read in another order; writing that needs joiners keeps them.
func TestNamesFromElsewhereOnlyStandThere(t *testing.T) {
	for from, want := range map[string]string{
		"report.csv":                    "report.csv",
		"Zoë Müller":                    "Zoë Müller",
		"می\u200cخواهم.txt":             "می\u200cخواهم.txt",
		"👩\u200d🔬.txt":                  "👩\u200d🔬.txt",
		"a\x1b[2Jb":                     "a?[2Jb",
		"a\rb\nc\td":                    "a?b?c?d",
		"a\u009b2Jb":                    "a?2Jb",
		"\u202egpj.exe":                 "?gpj.exe",
		"a\u2066b\u2069c\u200fd\u061ce": "a?b?c?d?e",
		"a\u2028it holds":               "a?it holds",
		"a\xffb":                        "a\ufffdb",
	} {
		if got := plain(from); got != want {
			t.Errorf("%q became %q, not %q", from, got, want)
		}
	}
}

// One thing is not several.
func TestCounted(t *testing.T) {
	for n, want := range map[int]string{0: "0 entries", 1: "1 entry", 2: "2 entries", 1500: "1,500 entries"} {
		if got := counted(n, "entry", "entries"); got != want {
			t.Errorf("%d: %q, not %q", n, got, want)
		}
	}
}

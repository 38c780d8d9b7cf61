package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/fault"
)

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

// What names a file is read from there, and never more of it than an argument can have; a
// folder that happens to have a person's name does not hide the person.
func TestArgumentsThatMayBeFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("ben", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"contact": " cerebrum-id:x\r\n", "full": strings.Repeat("x", maxLine), "long": strings.Repeat("x", maxLine+1)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for arg, want := range map[string]string{
		"contact": "cerebrum-id:x", "ben": "ben", " typed ": "typed", "nowhere/at/all": "nowhere/at/all", "": "",
		"full": strings.Repeat("x", maxLine), strings.Repeat("y", 1<<16): strings.Repeat("y", 1<<16),
	} {
		if got, err := argument(arg); err != nil || got != want {
			t.Errorf("%.20q is %.20q, %v", arg, got, err)
		}
	}
	e := &Env{In: strings.NewReader(strings.Repeat("x", maxLine+1))}
	for _, arg := range []string{"long", "-", filepath.Join(".", "long")} {
		if got, err := e.line(arg); fault.Of(err).Exit != fault.Usage || got != "" {
			t.Errorf("%s: %.20q, %v", arg, got, err)
		}
	}
}

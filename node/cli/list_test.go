package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/fault"
)

// people is a table with a column whose name has a line break in it.
const people = "name,ssn,age,zip,\"notes\non her\"\nAnn,111,30,1,x\nBob,222,30,1,y\nCleo,333,30,1,z\n"

// typed runs a command in a folder of its own with that table in it, and says what
// became of it and which files there are then.
func typed(t *testing.T, args ...string) (exit int, said string, files []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("people.csv", []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := &Env{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now}
	exit = Main(context.Background(), e, Root(e), args)
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	return exit, out.String(), files
}

// Names on several lines, as $(cat columns.txt) gives them, are no list of which the
// first line counts: the others would be published.
func TestAListOfSeveralLinesIsRefused(t *testing.T) {
	anonymize := []string{"anonymize", "people.csv", "-o", "out.csv", "--k", "2"}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"quasi":      {append(anonymize, "--quasi", "age\nzip"), "--quasi"},
		"sensitive":  {append(anonymize, "--quasi", "age", "--sensitive", "zip\nssn"), "--sensitive"},
		"drop":       {append(anonymize, "--quasi", "age", "--drop", "name\nssn"), "--drop"},
		"again":      {append(anonymize, "--quasi", "age", "--drop", "zip", "--drop", "name\nssn"), "--drop"},
		"CRLF":       {append(anonymize, "--quasi", "age", "--drop", "name\r\nssn\r\n"), "--drop"},
		"a gap":      {append(anonymize, "--quasi", "age", "--drop", "\nname\n\nssn\n"), "--drop"},
		"more a row": {append(anonymize, "--quasi", "age", "--drop", "name\nssn,zip"), "--drop"},
		"bad second": {append(anonymize, "--quasi", "age", "--drop", "name\ns\"sn"), "--drop"},
		"open quote": {append(anonymize, "--quasi", "age", "--drop", "name,\"ssn\nzip"), "--drop"},
		"no name":    {append(anonymize, "--quasi", "age", "--drop", "\n"), "--drop"},
		"hash":       {append(anonymize, "--quasi", "age", "--hash", "name\nssn"), "--hash"},
		"redact":     {append(anonymize, "--quasi", "age", "--redact", "name\nssn"), "--redact"},
		"zip3":       {append(anonymize, "--quasi", "age", "--zip3", "zip\nssn"), "--zip3"},
		"year":       {append(anonymize, "--quasi", "age", "--year", "name\nssn"), "--year"},
		"ages":       {append(anonymize, "--quasi", "age", "--ages-to-89", "age\nssn"), "--ages-to-89"},
		"apply":      {append(anonymize, "--quasi", "age", "--apply", "age\nname=redact"), "--apply"},
		"apply none": {append(anonymize, "--quasi", "age", "--apply", "\n=redact"), "--apply"},
		"risk":       {[]string{"anonymize", "risk", "people.csv", "--quasi", "age\nzip"}, "--quasi"},
		"reverse":    {[]string{"anonymize", "reverse", "people.csv", "-o", "out.csv", "--apply", "name\nssn=reversible", "--dataset", "d", "--key-file", "people.csv"}, "--apply"},
		"bins":       {[]string{"anonymize", "histogram", "people.csv", "--column", "zip", "--bins", "1\n2", "--epsilon", "1", "--limit", "1"}, "--bins"},
	} {
		t.Run(name, func(t *testing.T) {
			exit, said, files := typed(t, c.args...)
			lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
			if exit != fault.Usage || len(lines) != 2 || !strings.HasPrefix(lines[0], "cerebrum: "+c.says+" ") || !strings.Contains(lines[1], "in one line") {
				t.Errorf("exit %d, and it says\n%s", exit, said)
			}
			if len(files) != 1 {
				t.Errorf("there are %q then", files)
			}
		})
	}
}

// Flags with lists add up; a line end after the line is none in it, and neither is one
// within quotes, where it is part of a name.
func TestAListIsOneLineOfCSV(t *testing.T) {
	for name, c := range map[string]struct {
		drop []string
		left string
	}{
		"one":           {[]string{"name,ssn"}, `age,zip,"notes`},
		"again":         {[]string{"name", "ssn,zip"}, `age,"notes`},
		"a line end":    {[]string{"name,ssn\n"}, `age,zip,"notes`},
		"CRLF":          {[]string{"name,ssn\r\n"}, `age,zip,"notes`},
		"a broken name": {[]string{"name,ssn,\"notes\non her\""}, "age,zip\n"},
		"none":          {[]string{"name,ssn", ""}, `age,zip,"notes`},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"anonymize", "people.csv", "-o", "out.csv", "--k", "2", "--quasi", "age"}
			for _, d := range c.drop {
				args = append(args, "--drop", d)
			}
			exit, said, _ := typed(t, args...)
			out, err := os.ReadFile("out.csv")
			if exit != fault.OK || err != nil || !strings.HasPrefix(string(out), c.left) {
				t.Errorf("exit %d, %v: %s\n%s", exit, err, said, out)
			}
		})
	}
}

// The help says of a list what it says of other flags that may be repeated.
func TestListsInTheHelp(t *testing.T) {
	_, said, _ := typed(t, "anonymize", "--help")
	if !strings.Contains(said, "--drop strings ") || strings.Contains(said, "default []") {
		t.Error(said)
	}
}

package main

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/testnet"
	"github.com/spf13/cobra"
)

func readme(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func commands() *cobra.Command {
	env := &cli.Env{In: strings.NewReader(""), Now: time.Now}
	return cli.Root(env, testnet.Command(env))
}

// shown matches a command line of an example, up to a comment or a pipe.
var shown = regexp.MustCompile(`(?m)^    (?:\w+=\S+ )?cerebrum ((?:.*\\\n)*.*)`)

// unknownCommands finds what a page tells its readers to type and the command
// line does not know: commands, flags and numbers of arguments.
func unknownCommands(page string) (found []string, looked int) {
	for _, m := range shown.FindAllStringSubmatch(page, -1) {
		line, _, _ := strings.Cut(strings.ReplaceAll(m[1], "\\\n", " "), " #")
		line, _, _ = strings.Cut(line, " > ")
		looked++
		c, args, err := commands().Find(strings.Fields(line))
		if err == nil {
			err = c.ParseFlags(args)
		}
		if err == nil && c.HasSubCommands() && !strings.Contains(c.Use, " ") { // takes no arguments of its own
			err = fmt.Errorf("there is no such command")
		}
		if err == nil {
			err = c.ValidateArgs(c.Flags().Args())
		}
		if err == nil {
			err = c.ValidateRequiredFlags()
		}
		if err != nil {
			found = append(found, fmt.Sprintf("%s: %v", line, err))
		}
	}
	return found, looked
}

func TestReadmeShowsCommandsThatExist(t *testing.T) {
	found, looked := unknownCommands(readme(t))
	for _, f := range found {
		t.Error(f)
	}
	if looked < 20 {
		t.Errorf("only %d examples were found", looked)
	}
	for _, wrong := range []string{"get", "get ADDRESS --outputs x", "fetch ADDRESS", "testnet fly", "grant ADDRESS --can read"} {
		if found, _ := unknownCommands("    cerebrum " + wrong + "\n"); len(found) != 1 {
			t.Errorf("%q passes for a command", wrong)
		}
	}
}

// unnamedPackages finds packages that the layout leaves out, and lines of it
// that are no package any more.
func unnamedPackages(page string, dirs []string) (found []string) {
	_, layout, _ := strings.Cut(page, "\n## Layout\n")
	layout, _, _ = strings.Cut(layout, "\n## ")
	var named []string
	for line := range strings.Lines(layout) {
		if f := strings.Fields(line); strings.HasPrefix(line, "    ") && len(f) > 1 {
			named = append(named, f[0])
		}
	}
	for _, d := range dirs {
		if !slices.Contains(named, d) {
			found = append(found, "missing: "+d)
		}
	}
	for _, n := range named {
		if !slices.Contains(dirs, n) {
			found = append(found, "no package: "+n)
		}
	}
	return found
}

func TestReadmeNamesEveryPackage(t *testing.T) {
	var dirs []string
	for _, s := range load(t, os.DirFS(".")) {
		if d := s.dir(); d != "." && !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	for _, f := range unnamedPackages(readme(t), dirs) {
		t.Error(f)
	}
	if got := unnamedPackages("\n## Layout\n\n    acl/a  one\n    acl/b  two\n", []string{"acl/a", "acl/c"}); len(got) != 2 {
		t.Errorf("a wrong layout passes: %q", got)
	}
}

func TestReadmeListsTheExitCodes(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\| (\d) \| (\w+)`).FindAllStringSubmatch(readme(t), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	want := []string{
		fmt.Sprint(fault.OK, " done"), fmt.Sprint(fault.Failed, " failed"), fmt.Sprint(fault.Usage, " wrong"), fmt.Sprint(fault.Denied, " denied"),
		fmt.Sprint(fault.NotFound, " not"), fmt.Sprint(fault.Unavailable, " too"), fmt.Sprint(fault.Integrity, " integrity"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("README's exit codes are %q, the command line's %q", got, want)
	}
}

// Links between the pages lead somewhere.
func TestPagesLinkToFilesThatExist(t *testing.T) {
	for _, page := range []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"} {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(raw), -1) {
			if _, err := os.Stat(path.Clean(m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

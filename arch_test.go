package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "cerebrum.dev/cerebrum"

// layers in the order in which they may import: each one itself and what follows.
var layers = []string{"main", "testnet", "node", "p2p", "acl", "crypto"}

// source is a parsed file.
type source struct {
	path  string // with forward slashes, from the module's folder
	text  string
	tree  *ast.File
	lines *token.FileSet
}

func (s *source) dir() string { return path.Dir(s.path) }
func (s *source) test() bool  { return strings.HasSuffix(s.path, "_test.go") }
func (s *source) layer() int  { return layerOf(s.dir()) }
func (s *source) imports() (p []string) {
	for _, i := range s.tree.Imports {
		if name, err := strconv.Unquote(i.Path.Value); err == nil {
			p = append(p, name)
		}
	}
	return p
}

func (s *source) at(pos token.Pos, format string, a ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.lines.Position(pos).Line, fmt.Sprintf(format, a...))
}

// local is the name under which a file knows a package, or "" if it does not.
func (s *source) local(pkg string) string {
	for _, i := range s.tree.Imports {
		if i.Path.Value != strconv.Quote(pkg) {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// names says whether an expression is pkg.symbol in this file.
func (s *source) names(e ast.Expr, pkg, symbol string) bool {
	local := s.local(pkg)
	switch e := e.(type) {
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && local != "" && x.Name == local && e.Sel.Name == symbol
	case *ast.Ident:
		return local == "." && e.Name == symbol
	}
	return false
}

// layerOf is the place of a folder in layers, or -1.
func layerOf(dir string) int {
	if dir == "." {
		return 0
	}
	first, _, _ := strings.Cut(dir, "/")
	if first == layers[0] {
		return -1
	}
	return slices.Index(layers, first)
}

// load parses every Go file below a folder, whatever its build constraints.
func load(t *testing.T, folder fs.FS) []*source {
	t.Helper()
	var all []*source
	err := fs.WalkDir(folder, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != "." && (n[0] == '.' || n[0] == '_' || n == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		raw, err := fs.ReadFile(folder, p)
		if err != nil {
			return err
		}
		s := &source{path: p, text: string(raw), lines: token.NewFileSet()}
		s.tree, err = parser.ParseFile(s.lines, p, raw, parser.ParseComments)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// rule is one promise that the code keeps. wrong is the smallest source that
// breaks it, once, and right the nearest one that does not.
type rule struct {
	name         string
	check        func([]*source) []string
	wrong, right map[string]string
}

// eachFile makes a rule of a check that looks at one file at a time.
func eachFile(check func(*source) []string) func([]*source) []string {
	return func(all []*source) (found []string) {
		for _, s := range all {
			found = append(found, check(s)...)
		}
		return found
	}
}

var rules = []rule{
	{
		name: "imports run one way", check: eachFile(importsRunOneWay),
		wrong: map[string]string{"acl/a.go": `package a; import _ "` + module + `/p2p/host"`},
		right: map[string]string{"p2p/a.go": `package a; import _ "` + module + `/acl/trust"`},
	},
	{
		name: "the command line does not know the commands above it", check: eachFile(importsRunOneWay),
		wrong: map[string]string{"node/cli/a.go": `package a; import _ "` + module + `/testnet"`},
		right: map[string]string{"a.go": `package main; import _ "` + module + `/testnet"`},
	},
	{
		name: "every package is in a folder with a place in the order", check: eachFile(importsRunOneWay),
		wrong: map[string]string{"storage/a.go": `package storage`},
		right: map[string]string{"node/storage/a.go": `package storage`},
	},
	{
		name: "every package has its comment", check: packageComments,
		wrong: map[string]string{"acl/a/a.go": "// Something.\npackage a", "acl/a/b.go": `package a`},
		right: map[string]string{"acl/a/a.go": "// Package a is an example.\npackage a", "acl/a/b.go": `package a`},
	},
	{
		name: "packages are named after their subject", check: packageNames,
		wrong: map[string]string{"acl/helpers/a.go": `package helpers`, "acl/helpers/b.go": `package helpers`},
		right: map[string]string{"acl/helping/a.go": `package helping`},
	},
	{
		name: "importing a package does nothing", check: eachFile(noInit),
		wrong: map[string]string{"acl/a.go": `package a; func init() {}`},
		right: map[string]string{"acl/a.go": `package a; type t int; func (t) init() {}`},
	},
	{
		name: "no struct keeps a context", check: eachFile(noKeptContext),
		wrong: map[string]string{"acl/a.go": `package a; import c "context"; func f() { type t struct { c.Context } }`},
		right: map[string]string{"acl/a.go": `package a; import "context"; type t struct { do func(context.Context) }`},
	},
	{
		name: "tests wait for events, not for time", check: eachFile(noSleepInTests),
		wrong: map[string]string{"acl/a_test.go": `package a; import . "time"; func f() { Sleep(1) }`},
		right: map[string]string{"acl/a_test.go": `package a; import ("time"; _ "testing/synctest"); func f() { time.Sleep(1) }`},
	},
	{
		name: "files fit a reader's head", check: eachFile(fileLength),
		wrong: map[string]string{"acl/a.go": "package a" + strings.Repeat("\n", maxLines+1)},
		right: map[string]string{"acl/a.go": "package a" + strings.Repeat("\n", maxLines), "acl/a_test.go": "package a" + strings.Repeat("\n", maxTestLines)},
	},
	{
		name: "files of tests are bounded too", check: eachFile(fileLength),
		wrong: map[string]string{"acl/a_test.go": "package a" + strings.Repeat("\n", maxTestLines+1)},
		right: map[string]string{"acl/a_test.go": "package a" + strings.Repeat("\n", maxTestLines)},
	},
	{
		name: "nothing is left for later", check: eachFile(nothingLeft),
		wrong: map[string]string{"acl/a.go": "package a // FIX" + "ME"},
		right: map[string]string{"acl/a.go": "package a // fixed"},
	},
}

// The promises about the code's structure that CONTRIBUTING.md makes hold.
func TestArchitecture(t *testing.T) {
	all := load(t, os.DirFS("."))
	packages := map[string]bool{}
	for _, s := range all {
		packages[s.dir()] = true
	}
	for _, want := range []string{".", "testnet", "node/cli", "p2p/host", "acl/trust", "crypto/statement"} {
		if !packages[want] {
			t.Errorf("no source of %s was looked at", want)
		}
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(all) {
				t.Error(f)
			}
		})
	}
}

// A rule that cannot fail holds nothing: each of them finds what breaks it, and
// nothing in what nearly does.
func TestArchitectureRulesCanFail(t *testing.T) {
	folder := func(files map[string]string) []*source {
		m := fstest.MapFS{}
		for name, text := range files {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		return load(t, m)
	}
	for _, r := range rules {
		if got := r.check(folder(r.wrong)); len(got) != 1 {
			t.Errorf("%s: %d findings in source that breaks it: %q", r.name, len(got), got)
		}
		if got := r.check(folder(r.right)); len(got) != 0 {
			t.Errorf("%s: findings in source that keeps it: %q", r.name, got)
		}
	}
}

// An allowance for a file that no longer needs it is taken back.
func TestLongFilesAreStillLong(t *testing.T) {
	for _, s := range load(t, os.DirFS(".")) {
		if _, allowed := longFiles[s.path]; allowed && !tooLong(s) {
			t.Errorf("%s has become short: take it out of longFiles", s.path)
		}
	}
}

func importsRunOneWay(s *source) (found []string) {
	here := s.layer()
	if here < 0 {
		return []string{fmt.Sprintf("%s: the folders of packages are %s", s.path, strings.Join(layers[1:], ", "))}
	}
	for _, p := range s.imports() {
		dir, own := strings.CutPrefix(p, module)
		if !own {
			continue
		}
		there := layerOf(path.Join(".", strings.TrimPrefix(dir, "/")))
		if there < here {
			found = append(found, fmt.Sprintf("%s: %s imports %s", s.path, layers[here], p))
		}
	}
	return found
}

func packageComments(all []*source) (found []string) {
	has := map[string]bool{}
	for _, s := range all {
		if s.test() {
			continue
		}
		want := "Package " + s.tree.Name.Name + " "
		if s.tree.Name.Name == "main" {
			want = "Command "
		}
		has[s.dir()] = has[s.dir()] || s.tree.Doc != nil && strings.HasPrefix(s.tree.Doc.Text(), want)
	}
	for dir, ok := range has {
		if !ok {
			found = append(found, fmt.Sprintf("%s: no package comment", dir))
		}
	}
	return found
}

var subjectless = []string{"util", "utils", "common", "helper", "helpers", "type", "types", "models", "misc"}

func packageNames(all []*source) (found []string) {
	seen := map[string]bool{}
	for _, s := range all {
		name := strings.TrimSuffix(s.tree.Name.Name, "_test")
		if key := s.dir() + " " + name; !seen[key] {
			seen[key] = true
			if slices.Contains(subjectless, name) || slices.Contains(subjectless, path.Base(s.dir())) {
				found = append(found, fmt.Sprintf("%s: package %s is not named after a subject", s.dir(), name))
			}
		}
	}
	return found
}

func noInit(s *source) (found []string) {
	for _, d := range s.tree.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			found = append(found, s.at(f.Pos(), "func init"))
		}
	}
	return found
}

func noKeptContext(s *source) (found []string) {
	ast.Inspect(s.tree, func(n ast.Node) bool {
		st, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range st.Fields.List {
			if s.names(f.Type, "context", "Context") {
				found = append(found, s.at(f.Pos(), "a struct keeps a context"))
			}
		}
		return true
	})
	return found
}

// noSleepInTests lets files sleep that run in bubbles of fake time.
func noSleepInTests(s *source) (found []string) {
	if !s.test() || s.local("testing/synctest") != "" {
		return nil
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if e, ok := n.(ast.Expr); ok && s.names(e, "time", "Sleep") {
			found = append(found, s.at(e.Pos(), "time.Sleep"))
			return false
		}
		return true
	})
	return found
}

// A file of tests is a collection of stories, read one at a time.
const (
	maxLines     = 450
	maxTestLines = 700
)

// longFiles may be longer, each for a reason.
var longFiles = map[string]string{
	"crypto/statement/statement_test.go": "a table of malformed encodings for each decoder",
}

func tooLong(s *source) bool {
	n := strings.Count(s.text, "\n")
	return n > maxLines && !s.test() || n > maxTestLines
}

func fileLength(s *source) []string {
	if tooLong(s) && longFiles[s.path] == "" {
		return []string{fmt.Sprintf("%s: %d lines", s.path, strings.Count(s.text, "\n"))}
	}
	return nil
}

var left = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func nothingLeft(s *source) (found []string) {
	for n, line := range strings.Split(s.text, "\n") {
		if m := left.FindString(line); m != "" {
			found = append(found, fmt.Sprintf("%s:%d: %s", s.path, n+1, m))
		}
	}
	return found
}

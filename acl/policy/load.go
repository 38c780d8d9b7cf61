package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
)

// Files of a bundle's folder.
const (
	policiesFile   = "policies.cedar"
	policiesFolder = "policies"
	schemaFile     = "schema.cedarschema"
	entitiesFile   = "entities.json"
)

// source is where a policy stands.
type source struct {
	file string
	line int
}

// Load reads a bundle that people wrote: one .cedar file, or a folder with
//
//	policies.cedar and policies/*.cedar   at least one of them
//	schema.cedarschema                    optional: the built-in schema
//	entities.json                         optional: none
//
// Every policy begins with @id("..."), by which decisions name it. What stands
// between policies, comments above all, is left out of the bundle; line ends
// become LF, and policies are sorted by id, so that the same text gives the same
// bundle everywhere. Version, previous, record and time are left zero. The bundle
// is one that [NewEngine] accepts; else the error is [ErrBundle] and names file
// and line.
func Load(fsys fs.FS, name string) (*Bundle, error) {
	b, from, err := read(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := b.compiles(from); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return b, nil
}

// compiles tries the bundle and finds the file of a policy that is wrong.
func (b *Bundle) compiles(from []source) error {
	_, err := compile(b)
	var wrong *policyError
	if errors.As(err, &wrong) {
		at := from[wrong.at]
		return fmt.Errorf("%s:%d: %w", at.file, at.line, err)
	}
	return err
}

func read(fsys fs.FS, name string) (*Bundle, []source, error) {
	b := &Bundle{Engine: EngineName, Schema: builtinSchema}
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, nil, err
	}
	files := []string{name}
	if info.IsDir() {
		if files, err = policyFiles(fsys, name); err != nil {
			return nil, nil, err
		}
		if err := b.readRest(fsys, name); err != nil {
			return nil, nil, err
		}
	}
	from := map[string]source{}
	total := 0
	for _, file := range files {
		text, err := readText(fsys, file)
		if err != nil {
			return nil, nil, err
		}
		if total += len(text); total > 4*MaxBundleBytes { // comments are free, within reason
			return nil, nil, fmt.Errorf("%s: the policies have more than %d bytes", file, 4*MaxBundleBytes)
		}
		if err := b.readPolicies(file, text, from); err != nil {
			return nil, nil, err
		}
	}
	if len(b.Policies) == 0 {
		return nil, nil, fmt.Errorf("%s: it has no policy", name)
	}
	slices.SortFunc(b.Policies, func(p, q Policy) int { return strings.Compare(p.ID, q.ID) })
	sources := make([]source, len(b.Policies))
	for i, p := range b.Policies {
		sources[i] = from[p.ID]
	}
	return b, sources, nil
}

// policyFiles are a folder's files of policies, those of policies.cedar first.
func policyFiles(fsys fs.FS, folder string) ([]string, error) {
	var files []string
	if _, err := fs.Stat(fsys, path.Join(folder, policiesFile)); err == nil {
		files = append(files, path.Join(folder, policiesFile))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := fs.ReadDir(fsys, path.Join(folder, policiesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries { // sorted by name
		if !e.IsDir() && path.Ext(e.Name()) == ".cedar" {
			files = append(files, path.Join(folder, policiesFolder, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: there is neither %s nor %s/*.cedar in it", folder, policiesFile, policiesFolder)
	}
	return files, nil
}

// readRest reads schema and entities where there are any.
func (b *Bundle) readRest(fsys fs.FS, folder string) error {
	file := path.Join(folder, schemaFile)
	switch text, err := readText(fsys, file); {
	case err == nil:
		if _, err := resolve(file, string(text)); err != nil {
			return err
		}
		b.Schema = string(text)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	file = path.Join(folder, entitiesFile)
	switch text, err := readText(fsys, file); {
	case err == nil:
		var entities cedar.EntityMap
		if err := json.Unmarshal(text, &entities); err != nil {
			return fmt.Errorf("%s: the entities do not parse: %w", atOffset(file, text, err), err)
		}
		b.Entities = text
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// atOffset adds the line to a file's name where the error knows it.
func atOffset(file string, text []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return file
	}
	end := min(max(int(syntax.Offset), 0), len(text))
	return fmt.Sprintf("%s:%d", file, 1+bytes.Count(text[:end], []byte("\n")))
}

// readText reads a file of at most four bundles and makes its line ends LF.
func readText(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*MaxBundleBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(text) > 4*MaxBundleBytes {
		return nil, fmt.Errorf("%s: it has more than %d bytes", file, 4*MaxBundleBytes)
	}
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), nil
}

func (b *Bundle) readPolicies(file string, text []byte, from map[string]source) error {
	list, err := cedar.NewPolicyListFromBytes(file, text)
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "<input>", file)) // Cedar does not say the file's name here
	}
	if len(b.Policies)+len(list) > MaxPolicies {
		return fmt.Errorf("%s: a bundle has at most %d policies", file, MaxPolicies)
	}
	for i, p := range list {
		start, end, at := p.Position().Offset, len(text), source{file, p.Position().Line}
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		id, ok := p.Annotations()["id"]
		if !ok || !validID(string(id)) {
			return fmt.Errorf("%s:%d: a policy begins with @id(\"...\"), 1 to %d letters, digits, '-', '_', '.' or '/'", file, at.line, maxIDBytes)
		}
		if first, ok := from[string(id)]; ok {
			return fmt.Errorf("%s:%d: the id %s is already that of the policy at %s:%d", file, at.line, id, first.file, first.line)
		}
		own, err := only(text[start:end])
		if err != nil {
			return fmt.Errorf("%s:%d: policy %s: %w", file, at.line, id, err)
		}
		from[string(id)] = at
		b.Policies = append(b.Policies, Policy{ID: string(id), Text: own})
	}
	return nil
}

// only is the policy at the beginning of a text, without what follows it: the
// shortest part that ends in a semicolon and parses. Semicolons also stand in
// strings and comments.
func only(text []byte) (string, error) {
	for end := 0; ; {
		next := bytes.IndexByte(text[end:], ';')
		if next < 0 {
			return "", errors.New("it has no end")
		}
		if end += next + 1; end > MaxPolicyBytes {
			return "", fmt.Errorf("it has more than %d bytes", MaxPolicyBytes)
		}
		if list, err := cedar.NewPolicyListFromBytes("", text[:end]); err == nil && len(list) == 1 {
			return string(text[:end]), nil
		}
	}
}

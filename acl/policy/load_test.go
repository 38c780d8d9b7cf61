package policy

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func folder(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

const readAll = `@id("read-all")
permit (principal, action == Action::"read", resource);
`

func TestLoad(t *testing.T) {
	b, err := Load(folder(
		"b/policies.cedar", "// all of them; really\n"+readAll+"// and one; more\n@id(\"a\") forbid (principal, action, resource)\nwhen { context.reason == \"a;b\" /* ; */ };\n// the end;\n",
		"b/policies/x.cedar", `@id("x") permit (principal, action, resource) when { context.byOwner };`,
		"b/policies/notes.txt", "not a policy",
		"b/entities.json", entity("Role", "x", ""),
		"b/README.md", "words"), "b")
	if err != nil {
		t.Fatal(err)
	}
	want := []Policy{
		{ID: "a", Text: "@id(\"a\") forbid (principal, action, resource)\nwhen { context.reason == \"a;b\" /* ; */ };"},
		{ID: "read-all", Text: strings.TrimSpace(readAll)},
		{ID: "x", Text: `@id("x") permit (principal, action, resource) when { context.byOwner };`},
	}
	if len(b.Policies) != len(want) {
		t.Fatalf("%+v", b.Policies)
	}
	for i, p := range b.Policies {
		if p != want[i] {
			t.Errorf("%+v, want %+v", p, want[i])
		}
	}
	if b.Schema != builtinSchema || string(b.Entities) != entity("Role", "x", "") {
		t.Error("schema or entities are others")
	}
	one, err := Load(folder("one.cedar", readAll), "one.cedar")
	if err != nil {
		t.Fatal(err)
	}
	windows, err := Load(folder("w/policies.cedar", strings.ReplaceAll(readAll, "\n", "\r\n"), "w/schema.cedarschema", strings.ReplaceAll(builtinSchema, "\n", "\r\n")), "w")
	if err != nil || windows.Head() != one.Head() {
		t.Errorf("line ends make another bundle: %v", err)
	}
}

func TestLoadSaysWhere(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"no folder":             {[]string{"x", ""}, "b"},
		"no policies":           {[]string{"b/README.md", ""}, "neither policies.cedar nor"},
		"empty policies":        {[]string{"b/policies.cedar", "// nothing"}, "no policy"},
		"no id":                 {[]string{"b/policies.cedar", "\n\n" + permitAll}, "b/policies.cedar:3: a policy begins with @id"},
		"a bad id":              {[]string{"b/policies.cedar", `@id("a b") ` + permitAll}, "b/policies.cedar:1"},
		"an id twice":           {[]string{"b/policies.cedar", readAll, "b/policies/y.cedar", "\n" + readAll}, "b/policies/y.cedar:2: the id read-all is already that of the policy at b/policies.cedar:1"},
		"no syntax":             {[]string{"b/policies/y.cedar", readAll + "permit nobody"}, "b/policies/y.cedar:3"},
		"a typo":                {[]string{"b/policies/y.cedar", readAll + "\n@id(\"z\") permit (principal, action, resource) when { context.resaon == \"\" };"}, "b/policies/y.cedar:4"},
		"a broken schema":       {[]string{"b/policies.cedar", readAll, "b/schema.cedarschema", "entity A;\nentity"}, "b/schema.cedarschema:2"},
		"broken entities":       {[]string{"b/policies.cedar", readAll, "b/entities.json", "[\n\n{]"}, "b/entities.json:3"},
		"an entity of no type":  {[]string{"b/policies.cedar", readAll, "b/entities.json", entity("Robot", "x", "")}, `Robot::"x"`},
		"too long a policy":     {[]string{"b/policies.cedar", readAll + `@id("l") permit (principal, action, resource)` + strings.Repeat(" ", MaxPolicyBytes) + ";"}, "b/policies.cedar:3"},
		"too many policies":     {[]string{"b/policies.cedar", strings.Repeat(readAll, MaxPolicies+1)}, "at most 1024 policies"},
		"a file without an end": {[]string{"b/policies.cedar", strings.Repeat(" ", 4*MaxBundleBytes+1)}, "b/policies.cedar: it has more than"},
	} {
		_, err := Load(folder(c.files...), "b")
		if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := bundle(readAll)
	if _, err := NewEngine(b); err == nil || !strings.Contains(err.Error(), `policy p0 calls itself "read-all"`) {
		t.Errorf("two names for one policy: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(readAll, "", "")
	f.Add("// a;\n"+readAll+"/*", builtinSchema, entity("Role", "x", ""))
	f.Add(`@id("x;y") permit (principal, action, resource) when { context.reason == ";" };`, "", "[]")
	f.Fuzz(func(t *testing.T, policies, schema, entities string) {
		files := folder("b/policies.cedar", policies)
		if schema != "" {
			files["b/schema.cedarschema"] = &fstest.MapFile{Data: []byte(schema)}
		}
		if entities != "" {
			files["b/entities.json"] = &fstest.MapFile{Data: []byte(entities)}
		}
		b, err := Load(files, "b")
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Errorf("not an ErrBundle: %v", err)
			}
			return
		}
		if _, err := NewEngine(b); err != nil {
			t.Errorf("loaded, but refused: %v", err)
		}
		var text strings.Builder
		for _, p := range b.Policies {
			text.WriteString(p.Text + "\n")
		}
		files["b/policies.cedar"] = &fstest.MapFile{Data: []byte(text.String())}
		if again, err := Load(files, "b"); err != nil || again.Head() != b.Head() {
			t.Errorf("its own policies make another bundle: %v", err)
		}
	})
}

package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"

	"cerebrum.dev/cerebrum/crypto/statement"
)

var (
	reader = statement.Hash("test", []byte("reader"))
	owner  = statement.Hash("test", []byte("owner"))
	object = statement.Hash("test", []byte("object"))
)

// asked is a request that the built-in bundle allows.
func asked() Request {
	return Request{
		Principal: reader, PrincipalKind: "User", Action: "read", Object: object, Owner: owner,
		Purpose: "research", Reason: "study 7", Region: "eu", Classification: 2, Consented: true,
		Now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	}
}

// bundle is the built-in one with policies of the test's own, named p0, p1, ...
func bundle(texts ...string) *Bundle {
	b := Builtin()
	b.Policies = nil
	for i, text := range texts {
		b.Policies = append(b.Policies, Policy{ID: fmt.Sprint("p", i), Text: text})
	}
	return b
}

func mustEngine(t testing.TB, b *Bundle) *Engine {
	t.Helper()
	e, err := NewEngine(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// raw asks Cedar as a naive caller would: no schema, no look at the errors.
func raw(t *testing.T, b *Bundle, r Request) cedar.Decision {
	t.Helper()
	set := cedar.NewPolicySet()
	for _, p := range b.Policies {
		list, err := cedar.NewPolicyListFromBytes(p.ID, []byte(p.Text))
		if err != nil {
			t.Fatal(err)
		}
		for _, parsed := range list {
			set.Add(cedar.PolicyID(p.ID), parsed)
		}
	}
	verdict, _ := cedar.Authorize(set, cedar.EntityMap{}, cedar.Request{
		Principal: cedar.NewEntityUID(cedar.EntityType(r.PrincipalKind), cedar.String(r.Principal.String())),
		Action:    cedar.NewEntityUID("Action", cedar.String(r.Action)),
		Resource:  cedar.NewEntityUID("Dataset", cedar.String(r.Object.String())),
		Context:   r.context(),
	})
	return verdict
}

const permitAll = "permit (principal, action, resource);"

func TestBuiltinAllowsWhatTheOwnerConsentedTo(t *testing.T) {
	e := mustEngine(t, Builtin())
	for _, kind := range []string{"User", "Agent", "Service", "Enclave"} {
		for _, on := range []string{"", "Dataset", "Model", "Collection"} {
			for _, action := range []string{"carry", "read", "infer", "deploy", "delegate", "revoke", "audit", "grant"} {
				r := asked()
				r.PrincipalKind, r.ObjectKind, r.Action = kind, on, action
				want := Decision{Allow: true, Settled: true, Policies: []string{"default"}, Bundle: Builtin().Head()}
				if got := e.Decide(r); !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s %q: %+v", kind, action, on, got)
				}
				r.Consented = false
				r.Attested, r.Owner = true, r.Principal // nothing else opens the door
				want = Decision{Bundle: Builtin().Head()}
				if got := e.Decide(r); !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s %q without consent: %+v", kind, action, on, got)
				}
			}
		}
	}
}

// The head of the built-in bundle stands in audit entries and committee records.
func TestBuiltinHeadIsFrozen(t *testing.T) {
	const want = "e92ea8f6800c5a71652165bc3ce853cec6b21a75bd87a9d9da9d50b1db2a060a"
	if got := Builtin().Head().String(); got != want {
		t.Errorf("head is %s, want %s", got, want)
	}
	b := Builtin()
	s, err := statement.Sign(KindBundle, b, statement.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	if s.ID() != b.Head() {
		t.Error("a signature changes the head")
	}
	b.Policies[0].Text += " "
	if b.Head() == Builtin().Head() {
		t.Error("another text has the same head")
	}
}

func TestBundleTravels(t *testing.T) {
	b := Builtin()
	b.Version, b.Previous, b.NotBefore, b.Entities = 7, Builtin().Head(), -1, []byte("[]")
	s, err := statement.New(KindBundle, b)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := statement.Parse(s.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var got Bundle
	if err := parsed.Peek(KindBundle, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, b) || got.Head() != b.Head() {
		t.Errorf("came back as %+v", got)
	}
}

func TestRequestOutsideTheSchemaIsDenied(t *testing.T) {
	e := mustEngine(t, bundle(permitAll))
	if d := e.Decide(asked()); !d.Allow {
		t.Fatalf("control: %+v", d)
	}
	for name, change := range map[string]func(*Request){
		"no action":             func(r *Request) { r.Action = "" },
		"a reserved action":     func(r *Request) { r.Action = "write" },
		"an action in capitals": func(r *Request) { r.Action = "Read" },
		"no kind of principal":  func(r *Request) { r.PrincipalKind = "" },
		"a role as principal":   func(r *Request) { r.PrincipalKind = "Role" },
		"an invented principal": func(r *Request) { r.PrincipalKind = "Root" },
		"a user as object":      func(r *Request) { r.ObjectKind = "User" },
		"an action as object":   func(r *Request) { r.ObjectKind = "Action" },
		"a name with a quote":   func(r *Request) { r.PrincipalKind = `User::"x" || true` },
	} {
		r := asked()
		change(&r)
		if d := e.Decide(r); !reflect.DeepEqual(d, Decision{Errors: 1, Settled: true, Bundle: e.head}) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for name, context := range map[string]cedar.RecordMap{
		"empty":             {},
		"a string for Long": contextWith("classification", cedar.String("2")),
		"a Long for Bool":   contextWith("consented", cedar.Long(1)),
		"a Long for time":   contextWith("now", cedar.Long(0)),
		"one too many":      contextWith("risk", cedar.Long(0)),
	} {
		q := cedar.Request{Principal: cedar.NewEntityUID("User", "a"), Action: cedar.NewEntityUID("Action", "read"),
			Resource: cedar.NewEntityUID("Dataset", "b"), Context: cedar.NewRecord(context)}
		if d := e.decide(q, e.entities); d.Allow || d.Errors != 1 {
			t.Errorf("context %s: %+v", name, d)
		}
		if verdict, _ := cedar.Authorize(e.policies, e.entities, q); verdict != cedar.Allow {
			t.Errorf("context %s: control: Cedar alone denies, so the test proves nothing", name)
		}
	}
}

func contextWith(name cedar.String, v cedar.Value) cedar.RecordMap {
	m := cedar.RecordMap{}
	for k, old := range asked().context().All() {
		m[k] = old
	}
	m[name] = v
	return m
}

// Cedar skips a policy that errs. This forbid passes strict validation, forbids
// every classification above 0, and overflows from 2 on.
func TestForbidThatErrsForbids(t *testing.T) {
	const overflows = `forbid (principal, action, resource) when { context.classification * 9223372036854775807 > 0 };`
	b := bundle(permitAll, overflows)
	e := mustEngine(t, b)
	r := asked()
	if raw(t, b, r) != cedar.Allow {
		t.Fatal("control: Cedar alone denies, so the test proves nothing")
	}
	if got, want := e.Decide(r), (Decision{Settled: true, Policies: []string{"p1"}, Errors: 1, Bundle: b.Head()}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	r.Classification = 1
	if got, want := e.Decide(r), (Decision{Settled: true, Policies: []string{"p1"}, Bundle: b.Head()}); !reflect.DeepEqual(got, want) {
		t.Errorf("where it works: %+v, want %+v", got, want)
	}
	r.Classification = 0
	if got := e.Decide(r); !got.Allow {
		t.Errorf("control: %+v", got)
	}
}

// A failing permit is a no as well: validators must not differ in what they make of it.
func TestPermitThatErrsDoesNotHide(t *testing.T) {
	const overflows = `permit (principal, action, resource) when { context.classification * 9223372036854775807 > 0 };`
	const forbid = `forbid (principal, action, resource) when { context.region == "eu" };`
	got := mustEngine(t, bundle(permitAll, overflows)).Decide(asked())
	if got.Allow || got.Errors != 1 || !slices.Equal(got.Policies, []string{"p1"}) {
		t.Errorf("beside a permit: %+v", got)
	}
	got = mustEngine(t, bundle(permitAll, overflows, forbid)).Decide(asked())
	if got.Allow || got.Errors != 1 || !slices.Equal(got.Policies, []string{"p2"}) {
		t.Errorf("beside a forbid, which determines: %+v", got)
	}
	got = mustEngine(t, bundle(overflows)).Decide(asked())
	if got.Allow || got.Errors != 1 || !slices.Equal(got.Policies, []string{"p0"}) {
		t.Errorf("alone: %+v", got)
	}
}

// Cedar's evaluator does not know the schema, so the groups of actions that the
// schema declares are nothing to it.
func TestForbidOnAGroupOfActionsForbids(t *testing.T) {
	b := bundle(permitAll, `forbid (principal, action in Action::"plain", resource);`)
	b.Schema = strings.Replace(builtinSchema, "action carry, read,", "action any;\naction plain in [any];\naction carry, read in [plain] appliesTo {\n\tprincipal: [User], resource: [Dataset], context: Asked };\naction", 1)
	e := mustEngine(t, b)
	if raw(t, b, asked()) != cedar.Allow {
		t.Fatal("control: Cedar alone denies, so the test proves nothing")
	}
	if d := e.Decide(asked()); d.Allow || !slices.Equal(d.Policies, []string{"p1"}) {
		t.Errorf("%+v", d)
	}
	b.Policies[1].Text = `forbid (principal, action in Action::"any", resource);`
	if d := mustEngine(t, b).Decide(asked()); d.Allow {
		t.Errorf("a group of groups: %+v", d)
	}
	r := asked()
	r.Action = "infer"
	if d := e.Decide(r); !d.Allow {
		t.Errorf("control: %+v", d)
	}
}

func TestPolicyRefusedAtLoad(t *testing.T) {
	for name, text := range map[string]string{
		"a typo in an attribute":      `forbid (principal, action, resource) when { context.clasification > 1 };`,
		"an attribute nobody brings":  `forbid (principal, action, resource) when { context.risk > 5 };`,
		"a wrong type":                `forbid (principal, action, resource) when { context.classification > "secret" };`,
		"a condition of no truth":     `forbid (principal, action, resource) when { context.classification };`,
		"an attribute of a user":      `forbid (principal, action, resource) when { principal.age < 18 };`,
		"an unknown type":             `permit (principal == Robot::"x", action, resource);`,
		"an unknown action":           `forbid (principal, action == Action::"reed", resource);`,
		"an action that cannot apply": `permit (principal is Org, action, resource);`,
		"a time in words":             `permit (principal, action, resource) when { context.now < datetime("tomorrow") };`,
		"two policies":                permitAll + permitAll,
		"no policy":                   `// permit (principal, action, resource);`,
		"nothing":                     ``,
		"no syntax":                   `permit everything`,
		"a template":                  `permit (principal == ?principal, action, resource);`,
		"a NUL":                       "permit (principal, action, resource)\x00;",
		"no UTF-8":                    "permit (principal, action, resource) when { context.region == \"\xff\" };",
		"too long":                    permitAll + strings.Repeat(" ", MaxPolicyBytes),
	} {
		if _, err := NewEngine(bundle(text)); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewEngine(bundle(permitAll)); err != nil { // control
		t.Error(err)
	}
}

func TestBundleRefusedAtLoad(t *testing.T) {
	for name, change := range map[string]func(*Bundle){
		"another engine":       func(b *Bundle) { b.Engine = "cedar-go/1.8" },
		"no engine":            func(b *Bundle) { b.Engine = "" },
		"no schema":            func(b *Bundle) { b.Schema = "" },
		"a broken schema":      func(b *Bundle) { b.Schema = "entity" },
		"an unresolved schema": func(b *Bundle) { b.Schema += "entity Team in [Department];" },
		"a schema of another Long": func(b *Bundle) {
			b.Schema = strings.Replace(b.Schema, "classification: Long", "classification: String", 1)
		},
		"a schema without purpose": func(b *Bundle) { b.Schema = strings.Replace(b.Schema, "purpose: String,", "", 1) },
		"a schema that wants more": func(b *Bundle) {
			b.Schema = strings.Replace(b.Schema, "owner: String,", "owner: String, risk: Long,", 1)
		},
		"a long schema":            func(b *Bundle) { b.Schema += strings.Repeat(" ", MaxSchemaBytes) },
		"two policies with one id": func(b *Bundle) { b.Policies = append(b.Policies, b.Policies[0]) },
		"a policy without id":      func(b *Bundle) { b.Policies[0].ID = "" },
		"an id with a line feed":   func(b *Bundle) { b.Policies[0].ID = "a\nb" },
		"an id of 65 bytes":        func(b *Bundle) { b.Policies[0].ID = strings.Repeat("a", 65) },
		"too many policies":        func(b *Bundle) { b.Policies = make([]Policy, MaxPolicies+1) },
		"entities that are none":   func(b *Bundle) { b.Entities = []byte("{}") },
		"entities that are null":   func(b *Bundle) { b.Entities = []byte("null") },
		"broken entities":          func(b *Bundle) { b.Entities = []byte("[") },
		"bytes after the entities": func(b *Bundle) { b.Entities = []byte("[] []") },
		"a parent, not parents": func(b *Bundle) {
			b.Entities = []byte(strings.Replace(entity("Role", "x", ""), `{"uid"`, `{"parent":[],"uid"`, 1))
		},
		"Parents in capitals": func(b *Bundle) {
			b.Entities = []byte(strings.Replace(entity("Role", "x", ""), `"parents"`, `"Parents"`, 1))
		},
		"an entity of no type":      func(b *Bundle) { b.Entities = []byte(entity("Robot", "x", "")) },
		"a user in a user":          func(b *Bundle) { b.Entities = []byte(entity("User", "x", `{"type":"User","id":"y"}`)) },
		"the same entity twice":     func(b *Bundle) { e := entity("Role", "x", ""); b.Entities = []byte(e[:len(e)-1] + "," + e[1:]) },
		"an action in a made group": func(b *Bundle) { b.Entities = []byte(entity("Action", "read", `{"type":"Action","id":"audit"}`)) },
		"an attribute too many": func(b *Bundle) {
			b.Entities = []byte(`[{"uid":{"type":"Role","id":"x"},"attrs":{"admin":true},"parents":[]}]`)
		},
		"too many bytes": func(b *Bundle) { b.Entities = []byte("[" + strings.Repeat(" ", MaxBundleBytes) + "]") },
	} {
		b := Builtin()
		change(b)
		if _, err := NewEngine(b); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewEngine(nil); !errors.Is(err, ErrBundle) {
		t.Errorf("no bundle: %v", err)
	}
}

func entity(kind, id, parent string) string {
	return fmt.Sprintf(`[{"uid":{"type":%q,"id":%q},"attrs":{},"parents":[%s]}]`, kind, id, parent)
}

// The trap: Cedar's set takes a second policy under one id instead of the first.
func TestCedarOverwritesDuplicates(t *testing.T) {
	set := cedar.NewPolicySet()
	list, err := cedar.NewPolicyListFromBytes("", []byte(`forbid (principal, action, resource);`+permitAll))
	if err != nil {
		t.Fatal(err)
	}
	set.Add("p", list[0])
	set.Add("p", list[1])
	if verdict, _ := cedar.Authorize(set, nil, cedar.Request{}); verdict != cedar.Allow {
		t.Error("Cedar no longer overwrites: the check for duplicates may go")
	}
}

func TestRolesComeFromTheBundle(t *testing.T) {
	b := bundle(`permit (principal in Role::"analyst", action == Action::"read", resource in Collection::"trials")
		when { context.purpose == "research" && context.now < datetime("2027-01-01") && context.classification <= 2 };`)
	b.Entities = []byte(`[
		{"uid":{"type":"User","id":"` + reader.String() + `"},"attrs":{},"parents":[{"type":"Role","id":"analyst"}]},
		{"uid":{"type":"Dataset","id":"` + object.String() + `"},"attrs":{},"parents":[{"type":"Collection","id":"phase2"}]},
		{"uid":{"type":"Collection","id":"phase2"},"attrs":{},"parents":[{"type":"Collection","id":"trials"}]},
		{"uid":{"type":"Collection","id":"trials"},"attrs":{},"parents":[{"type":"Collection","id":"phase2"}]}]`) // a cycle harms nobody
	e := mustEngine(t, b)
	if d := e.Decide(asked()); !d.Allow {
		t.Fatalf("%+v", d)
	}
	for name, change := range map[string]func(*Request){
		"somebody else":        func(r *Request) { r.Principal = owner },
		"another kind":         func(r *Request) { r.PrincipalKind = "Agent" },
		"another action":       func(r *Request) { r.Action = "infer" },
		"another object":       func(r *Request) { r.Object = owner },
		"another purpose":      func(r *Request) { r.Purpose = "marketing" },
		"later":                func(r *Request) { r.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a higher class":       func(r *Request) { r.Classification = 3 },
		"an enclave's own key": func(r *Request) { r.PrincipalKind = "Enclave"; r.Attested = true },
	} {
		r := asked()
		change(&r)
		if d := e.Decide(r); d.Allow || d.Errors != 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestEveryFactReachesThePolicies(t *testing.T) {
	for condition, change := range map[string]func(*Request){
		`context.purpose == "p"`:                             func(r *Request) { r.Purpose = "p" },
		`context.reason == "because"`:                        func(r *Request) { r.Reason = "because" },
		`context.region like "us-*"`:                         func(r *Request) { r.Region = "us-east" },
		`context.classification == -1`:                       func(r *Request) { r.Classification = -1 },
		`context.attested`:                                   func(r *Request) { r.Attested = true },
		`!context.consented`:                                 func(r *Request) { r.Consented = false },
		`context.byOwner`:                                    func(r *Request) { r.Owner = r.Principal },
		`context.owner == "` + reader.String() + `"`:         func(r *Request) { r.Owner = reader },
		`principal == User::"` + owner.String() + `"`:        func(r *Request) { r.Principal = owner },
		`resource == Dataset::"` + owner.String() + `"`:      func(r *Request) { r.Object = owner },
		`resource is Model`:                                  func(r *Request) { r.ObjectKind = "Model" },
		`principal is Service`:                               func(r *Request) { r.PrincipalKind = "Service" },
		`context.now == datetime("2000-01-01T00:00:00Z")`:    func(r *Request) { r.Now = time.Unix(946684800, 999999999) },
		`context.now == datetime("0001-01-01T00:00:00Z")`:    func(r *Request) { r.Now = time.Time{} },
		`context.batch == 12`:                                func(r *Request) { r.Batch = 12 },
		`context.used >= 5`:                                  func(r *Request) { r.Used = 5 },
		`context.labels.contains("kind=scan")`:               func(r *Request) { r.Labels = []string{"b=1", "kind=scan"} },
		`principal in Role::"analyst"`:                       func(r *Request) { r.Roles = []string{"x", "analyst"} },
		`resource in Collection::"` + owner.String() + `"`:   func(r *Request) { r.Scopes = []statement.ID{reader, owner} },
		`action == Action::"grant" && context.reason != "x"`: func(r *Request) { r.Action = "grant" },
	} {
		e := mustEngine(t, bundle(`permit (principal, action, resource) when { `+condition+` };`))
		r := asked()
		if e.Decide(r).Allow {
			t.Errorf("%s: holds before the change", condition)
		}
		change(&r)
		if d := e.Decide(r); !d.Allow {
			t.Errorf("%s: %+v", condition, d)
		}
	}
	nobody := Request{PrincipalKind: "User", Action: "read"}
	if mustEngine(t, bundle(`permit (principal, action, resource) when { context.byOwner };`)).Decide(nobody).Allow {
		t.Error("an unset principal owns what has no owner")
	}
}

// Validators must agree, whatever the order of policies and of map iteration.
func TestDecisionsAreEqualForEqualInputs(t *testing.T) {
	var texts []string
	for range 20 {
		texts = append(texts, permitAll)
	}
	b := bundle(texts...)
	slices.Reverse(b.Policies)
	e := mustEngine(t, b)
	b.Policies[0].Text = "changed afterwards"
	want := e.Decide(asked())
	if !want.Allow || len(want.Policies) != 20 || !slices.IsSorted(want.Policies) {
		t.Fatalf("%+v", want)
	}
	elsewhere := asked()
	elsewhere.Now = elsewhere.Now.Add(300 * time.Millisecond).In(time.FixedZone("elsewhere", 7200))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for _, r := range []Request{asked(), elsewhere} {
					if got := e.Decide(r); !reflect.DeepEqual(got, want) {
						t.Errorf("%+v, want %+v", got, want)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestZeroEngineDenies(t *testing.T) {
	for _, e := range []*Engine{nil, {}} {
		if d := e.Decide(asked()); d.Allow || d.Errors != 1 {
			t.Errorf("%+v", d)
		}
	}
	if (Decision{}).Allow {
		t.Error("the zero decision allows")
	}
}

// A text within the limits must not exhaust the stack of the recursive parser,
// of the validator or of the evaluator, whichever of them refuses it.
func TestDeepestPolicies(t *testing.T) {
	const head, tail = "permit (principal, action, resource) when { ", " };"
	for _, c := range []struct{ open, inner, shut string }{
		{"(", "true", ")"}, {"!", "true", ""}, {"[", "", "]"}, {"if true then ", "true", " else false"},
		{"{a:", "1", "}"}, {"true && ", "true", ""}, {"true || ", "true", ""}, {"1 + ", "1", ""}, {"-", "1", ""},
	} {
		n := (MaxPolicyBytes - len(head) - len(tail) - len(c.inner)) / (len(c.open) + len(c.shut))
		text := head + strings.Repeat(c.open, n) + c.inner + strings.Repeat(c.shut, n) + tail
		if e, err := NewEngine(bundle(text)); err == nil {
			e.Decide(asked())
		}
	}
}

func FuzzNewEngine(f *testing.F) {
	f.Add(builtinSchema, builtinPolicy, "", true)
	f.Add(builtinSchema, permitAll, entity("Role", "x", ""), false)
	f.Add(builtinSchema, `forbid (principal in Role::"x", action in [Action::"read"], resource) unless { context.region like "e*" };`, "[]", true)
	f.Add("entity User; action read appliesTo { principal: User, resource: User, context: {} };", permitAll, "[]", true)
	f.Fuzz(func(t *testing.T, schema, text, entities string, consented bool) {
		b := &Bundle{Engine: EngineName, Schema: schema, Policies: []Policy{{ID: "p", Text: text}}, Entities: []byte(entities)}
		e, err := NewEngine(b)
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Errorf("not an ErrBundle: %v", err)
			}
			return
		}
		r := asked()
		r.Consented = consented
		d := e.Decide(r)
		if d.Bundle != b.Head() || d.Allow && (d.Errors != 0 || len(d.Policies) != 1) {
			t.Errorf("%+v", d)
		}
		if again := e.Decide(r); !reflect.DeepEqual(d, again) {
			t.Errorf("%+v, then %+v", d, again)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	e := mustEngine(b, Builtin())
	r := asked()
	b.ReportAllocs()
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

func BenchmarkDecide100Policies(b *testing.B) {
	var texts []string
	for i := range 100 {
		texts = append(texts, fmt.Sprintf(`permit (principal in Role::"r%d", action == Action::"read", resource) when { context.purpose == "research" };`, i))
	}
	texts = append(texts, builtinPolicy)
	e := mustEngine(b, bundle(texts...))
	r := asked()
	for b.Loop() {
		if !e.Decide(r).Allow {
			b.Fatal("denied")
		}
	}
}

func BenchmarkNewEngine(b *testing.B) {
	for b.Loop() {
		if _, err := NewEngine(Builtin()); err != nil {
			b.Fatal(err)
		}
	}
}

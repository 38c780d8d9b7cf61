package bundles_test

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/policy"
	"cerebrum.dev/cerebrum/acl/policy/bundles"
	"cerebrum.dev/cerebrum/crypto/statement"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	yes  = "yes"
	no   = "no"   // by a forbid
	open = "open" // a person may decide
)

// story is one request and its end.
type story struct {
	name   string
	kind   string // User if empty
	action string // read if empty
	roles  string // separated by spaces
	change func(*policy.Request)
	want   string
	by     string // ids that decide, separated by spaces
	says   string // part of the explanation
}

func (s story) request() policy.Request {
	r := policy.Request{
		Principal: statement.ID{31: 2}, PrincipalKind: "User", Action: "read", Object: statement.ID{5}, Owner: statement.ID{6},
		Purpose: "research", Consented: true, Batch: 1, Now: noon, Roles: strings.Fields(s.roles),
	}
	if s.kind != "" {
		r.PrincipalKind = s.kind
	}
	if s.action != "" {
		r.Action = s.action
	}
	if s.change != nil {
		s.change(&r)
	}
	return r
}

func own(r *policy.Request) { r.Owner = r.Principal }

func at(hour int) func(*policy.Request) {
	return func(r *policy.Request) { r.Now = time.Date(2027, 3, 1, hour, 0, 0, 0, time.UTC) }
}

func class(n int64) func(*policy.Request) { return func(r *policy.Request) { r.Classification = n } }

func purpose(p, reason string, labels ...string) func(*policy.Request) {
	return func(r *policy.Request) { r.Purpose, r.Reason, r.Labels = p, reason, labels }
}

// agent is a request of an agent for an object that is labelled for agents.
func agent(batch, used int64) func(*policy.Request) {
	return func(r *policy.Request) { r.Batch, r.Used, r.Labels = batch, used, []string{"agents=yes", "x=y"} }
}

var stories = map[string][]story{
	"research-room": {
		{name: "a researcher", roles: "researcher", want: yes, by: "researchers-read"},
		{name: "its highest class", roles: "researcher", change: class(2), want: yes, by: "researchers-read"},
		{name: "a class too high", roles: "researcher", change: class(3), want: open, says: "it wants context.classification <= 2; context.classification is 3"},
		{name: "another purpose", roles: "researcher", change: purpose("marketing", ""), want: open, says: `context.purpose is "marketing"`},
		{name: "no consent", roles: "researcher", change: func(r *policy.Request) { r.Consented = false }, want: open, says: "context.consented is false"},
		{name: "no role", want: open},
		{name: "before the room opens", roles: "researcher", change: at(5), want: no, by: "opening-hours", says: "policy opening-hours (forbids) applies"},
		{name: "when it opens", roles: "researcher", change: at(6), want: yes, by: "researchers-read"},
		{name: "when it closes", roles: "researcher", change: at(20), want: no, by: "opening-hours"},
		{name: "a steward at night", roles: "steward", change: at(2), want: yes, by: "stewards-read"},
		{name: "a steward's class", roles: "steward", change: class(4), want: yes, by: "stewards-read"},
		{name: "above a steward's class", roles: "steward", change: class(5), want: open, says: "context.classification is 5"},
		{name: "an agent reads", kind: "Agent", roles: "researcher", want: yes, by: "researchers-read"},
		{name: "an agent carries", kind: "Agent", action: "carry", want: no, by: "agents-export-nothing"},
		{name: "an agent delegates", kind: "Agent", action: "delegate", roles: "researcher", want: no, by: "agents-export-nothing"},
		{name: "a node carries", kind: "Service", action: "carry", want: yes, by: "carry"},
		{name: "a steward audits", action: "audit", roles: "steward", want: yes, by: "stewards-audit"},
		{name: "a researcher audits", action: "audit", roles: "researcher", want: open},
		{name: "a steward grants its own", action: "grant", roles: "steward", change: own, want: yes, by: "stewards-grant"},
		{name: "a steward grants another's", action: "grant", roles: "steward", want: open, says: "context.byOwner is false"},
		{name: "an owner grants", action: "grant", change: own, want: open},
		{name: "an agent grants", kind: "Agent", action: "grant", roles: "steward", change: own, want: no, by: "agents-grant-nothing"},
	},
	"hospital": {
		{name: "treatment", roles: "clinician", change: purpose("treatment", ""), want: yes, by: "clinicians-treat"},
		{name: "curiosity", roles: "clinician", change: purpose("curiosity", ""), want: open, says: `context.purpose is "curiosity"`},
		{name: "no role", change: purpose("treatment", ""), want: open},
		{name: "sensitive", roles: "clinician", change: purpose("treatment", "", "sensitive=yes"), want: no, by: "sensitive-needs-attending"},
		{name: "sensitive, attending", roles: "clinician attending", change: purpose("treatment", "", "sensitive=yes"), want: yes, by: "clinicians-treat"},
		{name: "attending alone", roles: "attending", change: purpose("treatment", ""), want: open},
		{name: "emergency", roles: "emergency", change: purpose("emergency", "unconscious"), want: yes, by: "break-glass"},
		{name: "sensitive emergency", roles: "emergency", change: purpose("emergency", "unconscious", "sensitive=yes"), want: yes, by: "break-glass"},
		{name: "emergency without a reason", roles: "emergency", change: purpose("emergency", ""), want: no, by: "emergency-needs-reason"},
		{name: "a clinician's emergency", roles: "clinician", change: purpose("emergency", "unconscious"), want: open},
		{name: "emergency staff in routine", roles: "emergency", change: purpose("treatment", ""), want: open, says: `it wants context.purpose == "emergency"; context.purpose is "treatment"`},
		{name: "sensitive routine of emergency staff", roles: "clinician emergency", change: purpose("treatment", "", "sensitive=yes"), want: no, by: "sensitive-needs-attending"},
		{name: "an auditor audits", action: "audit", roles: "auditor", want: yes, by: "auditors-audit"},
		{name: "a clinician audits", action: "audit", roles: "clinician", want: open},
		{name: "an auditor treats", roles: "auditor clinician", change: purpose("treatment", ""), want: no, by: "auditors-only-audit"},
		{name: "a node carries", kind: "Service", action: "carry", want: yes, by: "carry"},
		{name: "the records office grants", action: "grant", roles: "records-office", change: own, want: yes, by: "records-office-grants"},
		{name: "a patient grants", action: "grant", change: own, want: open},
		{name: "emergency staff ask", action: "grant", roles: "emergency", change: purpose("emergency", "unconscious"), want: yes, by: "break-glass-request"},
		{name: "emergency staff ask without a reason", action: "grant", roles: "emergency", change: purpose("emergency", ""), want: no, by: "emergency-needs-reason"},
		{name: "emergency staff ask in routine", action: "grant", roles: "emergency", change: purpose("treatment", "r"), want: open},
		{name: "a clinician asks in an emergency", action: "grant", roles: "clinician", change: purpose("emergency", "unconscious"), want: open},
		{name: "a machine asks in an emergency", kind: "Service", action: "grant", roles: "emergency", change: purpose("emergency", "r"), want: no, by: "machines-grant-nothing"},
		{name: "a service grants", kind: "Service", action: "grant", roles: "records-office", change: own, want: no, by: "machines-grant-nothing"},
	},
	"agent-team": {
		{name: "a supervisor reads", roles: "supervisor", want: yes, by: "supervisors"},
		{name: "a supervisor grants", action: "grant", roles: "supervisor", change: own, want: yes, by: "supervisors"},
		{name: "a person without a role", want: open},
		{name: "a person without a role grants", action: "grant", change: own, want: open},
		{name: "a small agent", kind: "Agent", roles: "agent/small", change: agent(10, 99), want: yes, by: "small-agents"},
		{name: "a small agent's batch", kind: "Agent", roles: "agent/small", change: agent(11, 0), want: open, says: "it wants context.batch <= 10; context.batch is 11"},
		{name: "a small agent's day", kind: "Agent", roles: "agent/small", change: agent(1, 100), want: open, says: "context.used is 100"},
		{name: "a large agent", kind: "Agent", roles: "agent/large", action: "infer", change: agent(100, 4999), want: yes, by: "large-agents"},
		{name: "a large agent's batch", kind: "Agent", roles: "agent/large", change: agent(101, 0), want: open},
		{name: "a large agent's day", kind: "Agent", roles: "agent/large", change: agent(1, 5000), want: open},
		{name: "an agent without a role", kind: "Agent", change: agent(1, 0), want: open},
		{name: "a person as an agent", roles: "agent/large", change: agent(1, 0), want: open},
		{name: "an agent as supervisor", kind: "Agent", roles: "supervisor", change: agent(1, 0), want: open},
		{name: "below its own ceiling", kind: "Agent", roles: "agent/large", change: listed(19), want: yes, by: "large-agents"},
		{name: "at its own ceiling", kind: "Agent", roles: "agent/large", change: listed(20), want: no, by: "own-ceiling"},
		{name: "not labelled", kind: "Agent", roles: "agent/small", want: no, by: "only-labelled", says: "policy only-labelled (forbids) applies: Agents see only what its owner labelled"},
		{name: "no purpose", kind: "Agent", roles: "agent/small", change: func(r *policy.Request) { agent(1, 0)(r); r.Purpose = "" }, want: no, by: "purpose-required"},
		{name: "an agent delegates", kind: "Agent", action: "delegate", roles: "agent/large", want: no, by: "agents-pass-nothing-on"},
		{name: "an agent grants", kind: "Agent", action: "grant", roles: "agent/large", change: own, want: no, by: "agents-pass-nothing-on"},
		{name: "a service carries", kind: "Service", action: "carry", want: yes, by: "services-carry"},
		{name: "a service reads", kind: "Service", want: open},
	},
}

// listed is the agent of entities.json.
func listed(used int64) func(*policy.Request) {
	return func(r *policy.Request) { agent(1, used)(r); r.Principal = statement.ID{31: 1} }
}

func engine(t *testing.T, b *policy.Bundle) *policy.Engine {
	t.Helper()
	e, err := policy.NewEngine(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func load(t *testing.T, name string) *policy.Bundle {
	t.Helper()
	b, err := bundles.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := policy.Check(b, policy.CheckOptions{From: noon}); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStories(t *testing.T) {
	for _, name := range bundles.Names() {
		e := engine(t, load(t, name))
		for _, s := range stories[name] {
			x := e.Explain(s.request())
			got := map[[2]bool]string{{true, true}: yes, {false, true}: no, {false, false}: open}[[2]bool{x.Allow, x.Settled}]
			if got != s.want || !slices.Equal(x.Policies, strings.Fields(s.by)) || x.Errors != 0 || !strings.Contains(x.String(), s.says) {
				t.Errorf("%s, %s: %s, want %s by %q saying %q:\n%s", name, s.name, got, s.want, s.by, s.says, x)
			}
		}
	}
}

// Without any one of its policies a bundle is another one, and a story shows it.
func TestEveryPolicyDecidesSomething(t *testing.T) {
	for _, name := range bundles.Names() {
		whole := load(t, name)
		before := engine(t, whole)
		for i, p := range whole.Policies {
			less := *whole
			less.Policies = slices.Delete(slices.Clone(whole.Policies), i, i+1)
			after := engine(t, &less)
			if !slices.ContainsFunc(stories[name], func(s story) bool {
				a, b := before.Decide(s.request()), after.Decide(s.request())
				return a.Allow != b.Allow || a.Settled != b.Settled
			}) {
				t.Errorf("%s: no story tells whether %s is there", name, p.ID)
			}
		}
	}
}

// The guide of a bundle names every role that its policies know.
func TestGuidesNameTheRoles(t *testing.T) {
	for _, name := range bundles.Names() {
		folder, err := bundles.Folder(name)
		if err != nil {
			t.Fatal(err)
		}
		guide, err := fs.ReadFile(folder, "README.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range load(t, name).Policies {
			for _, part := range strings.Split(p.Text, `Role::"`)[1:] {
				role, _, _ := strings.Cut(part, `"`)
				if !strings.Contains(string(guide), fmt.Sprintf("`%s`", role)) {
					t.Errorf("%s: the guide does not name the role %s", name, role)
				}
			}
		}
	}
	if _, err := bundles.Folder("../bundles"); err == nil {
		t.Error("a folder outside")
	}
}

// The schema of agent-team is the built-in one with a ceiling for agents.
func TestOwnSchemaIsTheBuiltInOneWithMore(t *testing.T) {
	got := load(t, "agent-team").Schema
	if want := policy.Builtin().Schema; !reflect.DeepEqual(strings.Replace(got, " { ceiling?: Long }", "", 1), want) {
		t.Errorf("they differ otherwise:\n%s", got)
	}
}

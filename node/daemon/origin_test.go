package daemon

import (
	"bytes"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/api"
)

// A release says what it was made of to whoever may read it, stands in the log as one,
// and is still one under a new key.
func TestReleaseNamesItsSource(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	n := m.nodes[0]
	report, _ := addSmall(t, n, "the report")
	origin := api.Origin{Source: strings.Repeat("0a", 32), Method: "5-anonymity by coarsening columns", Report: report.String()}
	add := func(r api.AddRequest) (*api.Added, error) {
		r.Name = "release.csv"
		return n.AddStream(t.Context(), r, strings.NewReader("age\n30-39\n"))
	}
	a, err := add(api.AddRequest{Origin: &origin, Labels: map[string]string{"release": "anonymised"}})
	if err != nil {
		t.Fatal(err)
	}
	i, err := n.Info(t.Context(), api.InfoRequest{Address: a.Address})
	if err != nil || i.Origin == nil || *i.Origin != origin {
		t.Errorf("%+v, %v", i, err)
	}
	c, err := parseAddress(a.Address)
	if err != nil {
		t.Fatal(err)
	}
	who := n.home.Principals()[0].Identity.ID()
	mustLog(t, n, event.Anonymise, event.OK, map[string]string{event.Actor: who.String(), event.Object: event.Ref(c.Bytes())})
	h, err := n.library.Find(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{origin.Method, origin.Report} {
		if bytes.Contains(h.Block, []byte(secret)) {
			t.Errorf("the manifest has %q for everybody to read", secret)
		}
	}
	next, err := n.library.Rekey(t.Context(), n.home.Principals()[0], h)
	if err != nil {
		t.Fatal(err)
	}
	if i, err = n.Info(t.Context(), api.InfoRequest{Address: next.Root.Address.String()}); err != nil || i.Origin == nil || *i.Origin != origin {
		t.Errorf("under a new key: %+v, %v", i, err)
	}
	if i, err = n.Info(t.Context(), api.InfoRequest{Address: report.String()}); err != nil || i.Origin != nil {
		t.Errorf("what is no release: %+v, %v", i, err)
	}
	for name, o := range map[string]api.Origin{
		"no hash":     {Source: "0a", Method: "m", Report: origin.Report},
		"no method":   {Source: origin.Source, Report: origin.Report},
		"long method": {Source: origin.Source, Method: strings.Repeat("m", 257), Report: origin.Report},
		"no report":   {Source: origin.Source, Method: "m", Report: statement.Hash("x").String()},
	} {
		if _, err := add(api.AddRequest{Origin: &o}); err == nil {
			t.Errorf("%s: it was added", name)
		}
	}
	if _, err := add(api.AddRequest{Origin: &origin, Update: a.Address}); err == nil {
		t.Error("a release became a version of another object")
	}
}

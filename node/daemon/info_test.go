package daemon

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/object"
)

// Whoever looks at an object sees what forbids to erase it, or to send it somewhere,
// before the command that is refused; and after `retain` what it changed.
func TestInfoSaysWhatBindsAnObject(t *testing.T) {
	t.Parallel()
	m := found(t, 1)
	m.refresh()
	owner, officer := m.nodes[0], m.validators[0]
	labels := map[string]string{"project": "trial", "classification": "3", validator.LabelResidency: "ch,eu"}
	c := addRetained(t, owner, labels)
	plain := addRetained(t, owner, nil)
	info := func(address string) *api.Info {
		t.Helper()
		i, err := owner.Info(t.Context(), api.InfoRequest{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	i := info(c.String())
	if !maps.Equal(i.Labels, labels) || i.Classification == nil || *i.Classification != 3 || !slices.Equal(i.Residency, []string{"ch", "eu"}) ||
		i.Retention != nil || len(i.Holds) != 0 {
		t.Errorf("%+v", i)
	}
	if i := info(plain.String()); i.Labels == nil || len(i.Labels) != 0 || i.Classification == nil || *i.Classification != 0 || i.Retention != nil || i.Residency != nil {
		t.Errorf("without labels: %+v", i)
	}

	owner.running.Store(true)
	until := m.now().Add(time.Hour).Truncate(time.Second)
	if _, err := owner.Retain(t.Context(), api.RetainRequest{Address: c.String(), Until: until.Unix(), Mode: validator.RetainGovernance}); err != nil {
		t.Fatal(err)
	}
	owner.running.Store(false)
	if r := info(c.String()).Retention; r == nil || r.Mode != validator.RetainGovernance || r.Until != stamp(until.Unix()) || r.Expire != "" || !strings.Contains(r.Says, "(governance)") {
		t.Errorf("retained: %+v", r)
	}

	officer.running.Store(true)
	h, err := officer.Hold(t.Context(), api.HoldRequest{Address: c.String(), Reason: "case 7"})
	officer.running.Store(false)
	if err != nil {
		t.Fatal(err)
	}
	m.refresh()
	if got := info(c.String()).Holds; !slices.Equal(got, []string{h.Hold}) {
		t.Errorf("held: %v", got)
	}
	if got := info(plain.String()).Holds; len(got) != 0 {
		t.Errorf("not held: %v", got)
	}
	// Labels that no validator takes bind nothing, and info does not fail on them.
	odd, err := owner.library.AddStream(t.Context(), owner.home.Principals()[0], "x", strings.NewReader("odd"), object.Labels{
		Labels: []validator.Label{{Key: validator.LabelResidency, Value: "eu,ch"}, {Key: validator.LabelRetention, Value: "forever"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if i := info(odd.Root.Address.String()); i.Retention != nil || i.Residency != nil || len(i.Labels) != 2 {
		t.Errorf("%+v", i)
	}
}

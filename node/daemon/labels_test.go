package daemon

import (
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/fault"
)

// Policies compare a label's text and its class: there is one text of each class.
func TestLabelsThatAreRefused(t *testing.T) {
	for name, in := range map[string]map[string]string{
		"a class with zeros":  {"classification": "007"},
		"a class with a sign": {"classification": "+7"},
		"no class":            {"classification": "secret"},
		"too high a class":    {"classification": "256"},
		"no key":              {"": "x"},
		"a long key":          {strings.Repeat("k", 65): "x"},
		"a long value":        {"k": strings.Repeat("v", 257)},
	} {
		if got, err := parseLabels(in); fault.Of(err).Exit != fault.Usage {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := parseLabels(map[string]string{"classification": "7", "project": "a"}); err != nil || got.Class != 7 || len(got.Labels) != 2 { // control
		t.Errorf("%v, %v", got, err)
	}
}

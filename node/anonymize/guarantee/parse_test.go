package guarantee_test

import (
	"reflect"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
)

func TestParse(t *testing.T) {
	s := []string{"a", "b@c"}
	for text, want := range map[string][]guarantee.Model{
		"k-map=5":                    {guarantee.KMap(5)},
		"delta-presence=0.1, 0.5":    {guarantee.Presence{Min: 0.1, Max: 0.5}},
		"distinct-l=3@a":             {guarantee.Distinct{Column: "a", L: 3}},
		"entropy-l=2.5@b@c":          {guarantee.Entropy{Column: "b@c", L: 2.5}},
		"recursive-l=3,2":            {guarantee.Recursive{Column: "a", C: 3, L: 2}, guarantee.Recursive{Column: "b@c", C: 3, L: 2}},
		"t-closeness=0.2,ordered@a":  {guarantee.Closeness{Column: "a", T: 0.2, Ground: guarantee.Ordered}},
		"beta-likeness=1@a":          {guarantee.Likeness{Column: "a", Beta: 1}},
		"enhanced-beta=1.5@a":        {guarantee.Likeness{Column: "a", Beta: 1.5, Enhanced: true}},
		"t-closeness=0,equal@a":      {guarantee.Closeness{Column: "a"}},
		"t-closeness=1,hierarchical": {guarantee.Closeness{Column: "a", T: 1, Ground: guarantee.Hierarchical}, guarantee.Closeness{Column: "b@c", T: 1, Ground: guarantee.Hierarchical}},
	} {
		if got, err := guarantee.Parse(text, s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	if len(guarantee.Forms()) != 8 || !guarantee.OfPopulation(guarantee.KMap(2)) || !guarantee.OfPopulation(guarantee.Presence{}) || guarantee.OfPopulation(guarantee.K(2)) {
		t.Error("forms, or models of a population")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `there is no model ""`,
		"l=3":                        "the models are k-map=K, ",
		"k-map":                      `k-map is written k-map=K, and not "k-map"`,
		"k-map=":                     "k-map is written",
		"k-map=2.5":                  "k-map is written",
		"k-map=5,6":                  "k-map is written",
		"k-map=99999999999":          "k-map is written",
		"k-map=0":                    "k is at least 1",
		"k-map=5@a":                  `without "@a"`,
		"k-map=5@a\nb":               `without "@a\nb"`,
		"delta-presence=0.5":         "delta-presence is written delta-presence=MIN,MAX",
		"delta-presence=0.5,0.1":     "the lower one first",
		"distinct-l=0@a":             "l is at least 1",
		"distinct-l=2@x":             `about column "x", which is not named as sensitive`,
		"entropy-l=NaN@a":            "entropy-l is written",
		"entropy-l=0.5@a":            "l is at least 1",
		"recursive-l=0,2@a":          "c above 0",
		"recursive-l=-1,2@a":         "c above 0",
		"recursive-l=Inf,2@a":        "recursive-l is written recursive-l=C,L",
		"recursive-l=2@a":            "recursive-l is written",
		"t-closeness=0.2@a":          "t-closeness is written t-closeness=T,DISTANCE",
		"t-closeness=1.2,equal@a":    "t is between 0 and 1",
		"t-closeness=0.2,straight@a": "t-closeness is written",
		"beta-likeness=0@a":          "beta is above 0",
		"enhanced-beta=-1@a":         "beta is above 0",
	} {
		if got, err := guarantee.Parse(text, []string{"a"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, got, err, want)
		}
	}
	if _, err := guarantee.Parse("entropy-l=2", nil); err == nil || !strings.Contains(err.Error(), "and none is named") {
		t.Errorf("%v", err)
	}
}

// Whatever is written is refused, or a model whose parameters make sense for some table.
func FuzzParse(f *testing.F) {
	for _, form := range guarantee.Forms() {
		f.Add(form)
	}
	f.Add("recursive-l=3,2@a")
	f.Add("t-closeness=0.1,equal")
	f.Add("k-map=5@a\nb")
	f.Fuzz(func(t *testing.T, text string) {
		models, err := guarantee.Parse(text, []string{"a"})
		if (err == nil) != (len(models) == 1) {
			t.Fatalf("%d models, %v", len(models), err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("not one sentence: %q", err)
		}
	})
}

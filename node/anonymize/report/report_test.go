package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
)

// sample is a report whose texts come from somebody hostile.
func sample() *Report {
	const hostile = `<script>alert(1)</script>"' onload=x`
	r := &Report{
		Format: Format, Guarantee: "5-anonymity", Input: File{Name: hostile, Rows: 100, Columns: []string{hostile}}, Output: File{Name: "r.csv", Rows: 90},
		Parameters:  Parameters{Quasi: []string{hostile, "age"}, Sensitive: []string{"s"}, Unchanged: []string{"note"}, Pseudonyms: []string{"name"}, Method: "columns"},
		Hierarchies: []Hierarchy{{Column: hostile, Source: hostile, SHA256: "00", Levels: 3, Values: 9, Level: 1}},
		Risk: Risk{Threshold: 0.2, Before: Attacks{Prosecutor: Chance{Highest: 1, Average: 0.9, AtRisk: 1, Smallest: 1}, Unique: 80},
			After: Attacks{Prosecutor: Chance{Highest: 0.2, Average: 0.00005, Smallest: 5}}},
		Utility: Utility{Rows: 100, Suppressed: 20, Classes: 9, GCP: 0.25, CAvg: 2, Columns: []ColumnUtility{{Name: hostile, NCP: 0.5, Labels: 3}, {Name: "age", NCP: 1}}},
		Classes: Classes{Before: []Size{{1, 80}, {20, 1}}, After: []Size{{5, 8}, {50, 1}}},
	}
	r.Explain([]guarantee.Model{guarantee.K(5)})
	return r
}

func html(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, KindOf("R.HTML")); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page loads and runs nothing, its policy says so, and the policy lets its own style
// pass: a wrong hash would leave a page without any.
func TestPageIsAlone(t *testing.T) {
	page := html(t, sample())
	if found := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|<object|@import|url\(|https?:|\ssrc=|\shref=|\sstyle=|<[^>]*\son\w+=`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(page)
	sum := sha256.Sum256([]byte(style[1]))
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if got := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policy[1]); !strings.HasPrefix(got, want) {
		t.Errorf("policy %q, want %q", got, want)
	}
	if !strings.Contains(page, "&lt;script&gt;") {
		t.Error("the hostile name is not there at all") // then nothing was tested
	}
}

// The plots are well-formed, stay within their frame, and show each number.
func TestPlots(t *testing.T) {
	page := html(t, sample())
	svgs := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(svgs) != 3 {
		t.Fatalf("%d plots", len(svgs))
	}
	for _, svg := range svgs {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, svg)
			}
		}
	}
	r := sample()
	for _, p := range []plot{r.riskPlot(), r.classPlot(), r.columnPlot()} {
		for _, row := range p.Rows {
			for _, b := range row.Bars {
				if b.Width < 0 || b.Width > barRight || b.Y+barHeight > p.Height || b.TextX > plotWidth-50 {
					t.Errorf("%s: %s leaves the frame: %+v", p.Title, row.Label, b)
				}
			}
		}
	}
	// 80 rows alone and 20 in a class of 20 become 40 in classes of 5 and 50 in one of 50
	if got := r.classPlot(); len(got.Rows) != 4 || got.Rows[0].Bars[0].Text != "80 %" || got.Rows[1].Bars[1].Text != "44 %" {
		t.Errorf("%+v", got.Rows)
	}
	if long := shorten(strings.Repeat("ä", 80)); len([]rune(long)) != 50 {
		t.Errorf("%q", long)
	}
}

func TestReportSaysWhatIsLeftOpen(t *testing.T) {
	page := html(t, sample())
	for _, want := range []string{"Nobody can be told apart", "at least 4 others", "note", "Pseudonyms (name)", "No model protects the sensitive column s", "20 % of the rows are left out",
		"in the order of the table", "the search ended before", "may all have the same value"} {
		if !strings.Contains(strings.ToLower(page), strings.ToLower(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
	r := sample()
	r.Parameters = Parameters{Quasi: []string{"age"}, Sensitive: []string{"s"}, Shuffled: true}
	r.Search.Finished, r.Utility.Suppressed = true, 0
	r.Explain([]guarantee.Model{guarantee.K(5), guarantee.Distinct{Column: "s", L: 3}})
	if len(r.Warnings) > 0 || len(r.Meaning) != 2 || len(r.NotCovered) != 4 {
		t.Errorf("%q, %q, %q", r.Warnings, r.Meaning, r.NotCovered)
	}
	for _, m := range []guarantee.Model{guarantee.KMap(5), guarantee.Entropy{Column: "s", L: 2}, guarantee.Recursive{Column: "s", C: 2, L: 3}, guarantee.Closeness{Column: "s", T: 0.2},
		guarantee.Likeness{Column: "s", Beta: 1}, guarantee.Presence{Min: 0.1, Max: 0.5}} {
		if sentence, _ := meaning(m); sentence == m.String()+"." {
			t.Errorf("%s is not explained", m)
		}
		if !strings.HasPrefix(open(m), m.String()+" leaves open ") {
			t.Errorf("%s leaves nothing open", m)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Write(&b, KindOf("r.json")); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["format"] != 1.0 {
		t.Errorf("%v, %v", got["format"], err)
	}
	for name, want := range map[string]string{"a.json": "json", "a.JSON": "json", "a.htm": "html", "a.pdf": "", "html": ""} {
		if got := KindOf(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestPercent(t *testing.T) {
	for x, want := range map[float64]string{0: "0 %", 0.00001: "under 0.01 %", 0.0234: "2.3 %", 0.0999: "10 %", 0.5: "50 %", 1: "100 %"} {
		if got := percent(x); got != want {
			t.Errorf("%g is %q, want %q", x, got, want)
		}
	}
}

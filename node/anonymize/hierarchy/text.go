package hierarchy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Prefixes makes a hierarchy over codes such as postal codes: each level hides one
// more character from the right, of the longest value's places, behind "*".
func Prefixes(values []string) (*Hierarchy, error) {
	longest := 0
	for _, v := range values {
		longest = max(longest, utf8.RuneCountInString(v))
	}
	if longest > MaxLevels-2 {
		return nil, fmt.Errorf("prefixes serve codes of at most %d characters; the longest value has %d", MaxLevels-2, longest)
	}
	rows := make([][]string, len(values))
	for i, v := range values {
		runes := []rune(v)
		row := []string{v}
		for keep := longest - 1; keep > 0; keep-- {
			if v == "" {
				row = append(row, "")
				continue
			}
			kept := string(runes[:min(keep, len(runes))])
			row = append(row, kept+strings.Repeat("*", longest-utf8.RuneCountInString(kept)))
		}
		rows[i] = append(row, Any)
	}
	return New(rows)
}

// layouts of dates that are read without being told, of which no two read one text
// as different days.
var layouts = []string{time.DateOnly, "2006/01/02", "20060102", time.DateTime, time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04", "02.01.2006"}

// Dates makes a hierarchy over dates: the text, day, month, quarter, year, decade,
// everything. Texts are read by the layouts given, in the form of package time, or
// else as ISO 8601 or as 31.12.2006. Missing values are a group of their own below
// the top.
func Dates(values []string, layout ...string) (*Hierarchy, error) {
	if len(layout) == 0 {
		layout = layouts
	}
	rows := make([][]string, len(values))
	for i, v := range values {
		if v == "" {
			rows[i] = []string{v, "", "", "", "", "", Any}
			continue
		}
		t, ok := date(v, layout)
		if !ok {
			return nil, &ValueError{Value: v, Want: "a date such as 2006-12-31"}
		}
		year := t.Year()
		decade := year - year%10
		rows[i] = []string{v, t.Format(time.DateOnly), t.Format("2006-01"), fmt.Sprintf("%04d-Q%d", year, (int(t.Month())+2)/3),
			fmt.Sprintf("%04d", year), fmt.Sprintf("%04d-%04d", decade, decade+9), Any}
	}
	slices.SortStableFunc(rows, func(a, b []string) int { return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0])) })
	return New(withoutTimes(rows))
}

// withoutTimes leaves the level of days out where all texts are days.
func withoutTimes(rows [][]string) [][]string {
	days := map[string]bool{}
	for _, r := range rows {
		days[r[1]] = true
	}
	if len(days) < len(rows) {
		return rows
	}
	for i, r := range rows {
		rows[i] = slices.Delete(r, 1, 2)
	}
	return rows
}

func date(text string, layout []string) (time.Time, bool) {
	for _, l := range layout {
		if t, err := time.Parse(l, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

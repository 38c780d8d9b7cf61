// Package report is the record of a release: what was promised, how, of what, and what
// it costs and leaves open. It has the form of JSON, for programs, and of one HTML page,
// for people, that needs nothing but itself: no script, no file beside it, no network.
//
// A report is made to be handed on together with the release. There is no cell of the
// table in it: names of columns, counts, measures and hashes are all it has. Texts that
// come from elsewhere, such as names of columns and files, are escaped.
package report

import (
	"encoding/json"
	"io"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/measure"
)

// Format is the version of the JSON form.
const Format = 1

// Report of one release.
type Report struct {
	Format    int       `json:"format"`
	Version   string    `json:"version"` // of the program
	Created   time.Time `json:"created"`
	Guarantee string    `json:"guarantee"`
	// Meaning is the guarantee in sentences.
	Meaning []string `json:"meaning"`
	Input   File     `json:"input"`
	Output  File     `json:"output"`
	// Population is the table of people that the rows are a sample of, nil without one.
	Population  *File       `json:"population,omitempty"`
	Parameters  Parameters  `json:"parameters"`
	Hierarchies []Hierarchy `json:"hierarchies"`
	Search      Search      `json:"search"`
	Risk        Risk        `json:"risk"`
	Utility     Utility     `json:"utility"`
	Classes     Classes     `json:"classes"`
	// NotCovered is what the guarantee says nothing about.
	NotCovered []string `json:"not_covered"`
	// Warnings are things that somebody should look at before the release is shared.
	Warnings []string `json:"warnings"`
}

// File is the table that was read, or the release.
type File struct {
	Name     string   `json:"name"` // without its folder
	Format   string   `json:"format"`
	Encoding string   `json:"encoding"`
	Bytes    int64    `json:"bytes"`
	SHA256   string   `json:"sha256"`
	Rows     int      `json:"rows"`
	Columns  []string `json:"columns"`
}

// Parameters are what was asked for.
type Parameters struct {
	Quasi         []string    `json:"quasi"`
	Sensitive     []string    `json:"sensitive"`
	Dropped       []string    `json:"dropped"`
	Pseudonyms    []string    `json:"pseudonyms"`
	Operations    []Operation `json:"operations"`
	Unchanged     []string    `json:"unchanged"`
	Models        []string    `json:"models"`
	Method        string      `json:"method"`
	SuppressLimit float64     `json:"suppress_limit"`
	Budget        float64     `json:"budget_seconds"` // 0: none
	Shuffled      bool        `json:"shuffled"`
	Missing       []string    `json:"missing"`
}

// Operation is what was done to the cells of a column before anything else.
type Operation struct {
	Column string `json:"column"`
	Name   string `json:"name"`
	Text   bool   `json:"free_text,omitempty"`
	// Leaves is a sentence on what it leaves open, or empty.
	Leaves string `json:"leaves_open,omitempty"`
	// Parts says that equal values may become different ones.
	Parts bool `json:"parts_equal_values,omitempty"`
}

// Hierarchy of a column.
type Hierarchy struct {
	Column string `json:"column"`
	// Source is the name of a file without its folder, or how the hierarchy was made.
	Source string `json:"source"`
	// SHA256 is of the hierarchy in its canonical form; FileSHA256 of the file as it is.
	SHA256     string `json:"sha256"`
	FileSHA256 string `json:"file_sha256,omitempty"`
	Levels     int    `json:"levels"`
	Values     int    `json:"values"`
	// Level is where a release of whole columns has the column, else -1.
	Level int `json:"level"`
}

// Search says how the release was found.
type Search struct {
	Finished bool    `json:"finished"`
	Checked  int     `json:"checked"`
	Seconds  float64 `json:"seconds"`
}

// Risk before and after.
type Risk struct {
	Threshold float64 `json:"threshold"`
	Before    Attacks `json:"before"`
	After     Attacks `json:"after"`
}

// Attacks are the risks of three of them, as chances from 0 to 1.
type Attacks struct {
	Prosecutor Chance  `json:"prosecutor"`
	Journalist Chance  `json:"journalist"`
	Marketer   float64 `json:"marketer"`
	// Unique is the rows that are alone in their class.
	Unique int `json:"unique_rows"`
}

// Chance of one attack.
type Chance struct {
	Highest  float64 `json:"highest"`
	Average  float64 `json:"average"`
	AtRisk   float64 `json:"at_risk"` // share of rows above the threshold
	Smallest int     `json:"smallest_class"`
}

// Utility of the release.
type Utility struct {
	Rows           int             `json:"rows"`
	Suppressed     int             `json:"suppressed"`
	Classes        int             `json:"classes"`
	GCP            float64         `json:"gcp"`
	Granularity    float64         `json:"granularity"`
	Discernibility float64         `json:"discernibility"`
	AverageClass   float64         `json:"average_class"`
	CAvg           float64         `json:"c_avg,omitempty"`
	Entropy        float64         `json:"entropy"`
	KL             float64         `json:"kl"`
	Columns        []ColumnUtility `json:"columns"`
}

// ColumnUtility is the utility of one quasi-identifier.
type ColumnUtility struct {
	Name    string  `json:"name"`
	NCP     float64 `json:"ncp"`
	Entropy float64 `json:"entropy"`
	Labels  int     `json:"labels"`
}

// Classes are the numbers of classes of each size.
type Classes struct {
	Before []Size `json:"before"`
	After  []Size `json:"after"`
}

// Size is how many classes have so many rows.
type Size struct {
	Rows    int `json:"rows"`
	Classes int `json:"classes"`
}

// AttacksOf takes over measured risks.
func AttacksOf(r measure.Risks, sizes measure.Sizes) Attacks {
	a := Attacks{Prosecutor: Chance(r.Prosecutor), Journalist: Chance(r.Journalist), Marketer: r.Marketer}
	if len(sizes) > 0 && sizes[0].Rows == 1 {
		a.Unique = sizes[0].Classes
	}
	return a
}

// UtilityOf takes over measured utility. k is the least size of a class, or 0.
func UtilityOf(u measure.Utility, k int) Utility {
	out := Utility{Rows: u.Rows, Suppressed: u.Suppressed, Classes: u.Classes, GCP: u.GCP, Granularity: u.Granularity,
		Discernibility: u.Discernibility, AverageClass: u.AverageClass, Entropy: u.Entropy, KL: u.KL}
	if k > 0 {
		out.CAvg = u.CAvg(k)
	}
	for _, c := range u.Columns {
		out.Columns = append(out.Columns, ColumnUtility(c))
	}
	return out
}

// SizesOf takes over counted sizes.
func SizesOf(s measure.Sizes) []Size {
	out := make([]Size, len(s))
	for i := range s {
		out[i] = Size(s[i])
	}
	return out
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

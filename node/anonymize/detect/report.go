package detect

import (
	"cmp"
	"fmt"
	"slices"
)

// Trait is a kind and the share of the cells of a column, of those that are not empty.
type Trait struct {
	Kind  Kind
	Share float64
}

// Column is what was found out about a column.
type Column struct {
	Name    string
	Role    Role
	Subject Subject // what its name says
	// Kind is what its cells are, or None, and Share the share of them that validate.
	Kind  Kind
	Share float64
	// Holds is the kinds of identifiers that some cells hold besides.
	Holds []Trait
	// Birth says that its dates are dates of birth.
	Birth bool
	// Filled is the share of cells that are not empty.
	Filled  float64
	Ranking Ranking // of this column alone
	Shape   Shape
	// Reasons is why it has its role, in words without a value of the table.
	Reasons []string
}

// Shape is which hierarchy suits the values of a column.
type Shape int

// The shapes.
const (
	Groups    Shape = iota // names of things: a file says what belongs together
	Intervals              // numbers
	Dates                  // days
	Prefixes               // codes of one length
)

var shapes = [...]string{"groups", "intervals", "dates", "prefixes"}

func (s Shape) String() string {
	if int(s) < len(shapes) {
		return shapes[s]
	}
	return "unknown"
}

// MarshalText gives the name.
func (s Shape) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Report is what was found out about a table.
type Report struct {
	Rows int
	// Sampled is how many rows the rankings are of.
	Sampled int
	// SeparationError is by how much a separation may be off, with 95 % confidence; 0 if
	// all rows were looked at.
	SeparationError float64
	Columns         []Column
	// Quasi is the columns that are neither direct identifiers nor sensitive nor text, by
	// separation, the highest first.
	Quasi []Ranking
	// Sets is the greedy sets of those columns, each one larger than the one before.
	Sets []Ranking
}

// Report says what was found so far.
func (in *Inspector) Report() *Report {
	r := &Report{Rows: in.rows, Sampled: in.sample.len(), SeparationError: in.sample.separationError()}
	t := newNumbering(r.Sampled)
	type candidate struct {
		rank Ranking
		rows partition
	}
	var candidates []candidate
	for i := range in.columns {
		c := &in.columns[i]
		p := in.sample.column(t, i)
		col := c.judge(p.ranking(c.name), in)
		r.Columns = append(r.Columns, col)
		if col.Role == Quasi || col.Role == Plain {
			candidates = append(candidates, candidate{col.Ranking, p})
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.rank.Separation, a.rank.Separation), cmp.Compare(b.rank.Distinction, a.rank.Distinction))
	})
	var names []string
	var columns []partition
	for i, c := range candidates {
		r.Quasi = append(r.Quasi, c.rank)
		if i < mostCandidates {
			names, columns = append(names, c.rank.Columns[0]), append(columns, c.rows)
		}
	}
	r.Sets = t.greedy(names, columns)
	return r
}

// nearlyUnique is the distinction from which a column is a key, in a sample that is large
// enough to say so.
const (
	nearlyUnique = 0.95
	enoughRows   = 50
)

// generation is how many years apart dates are, at least, that are taken for dates of
// birth though no name says so.
const generation = 30

func (c *column) judge(r Ranking, in *Inspector) Column {
	out := Column{Name: c.name, Subject: c.subject, Ranking: r, Shape: c.shape()}
	if in.rows > 0 {
		out.Filled = float64(c.filled) / float64(in.rows)
	}
	out.Kind, out.Share = c.verdict()
	out.Holds = c.traces(out.Kind)
	say := func(format string, a ...any) { out.Reasons = append(out.Reasons, fmt.Sprintf(format, a...)) }
	if out.Kind != None {
		say("%.0f %% of its cells validate as %s", 100*out.Share, out.Kind)
	}
	if c.subject != Unknown {
		say("its name says %s", c.subject)
	}
	for _, t := range out.Holds {
		say("%.1f %% of its cells hold %s", 100*t.Share, t.Kind)
	}
	out.Role = c.role(&out, in, say)
	if out.Role != Direct && out.Role != Text && len(out.Holds) > 0 {
		out.Role = Text // mixed: what is found in it has to go
	}
	return out
}

func (c *column) role(out *Column, in *Inspector, say func(string, ...any)) Role {
	switch {
	case out.Kind.Direct():
		return Direct
	case c.isText(out.Ranking):
		say("it is free text, and names in it have no pattern: a person has to review it")
		return Text
	case out.Kind == Date:
		out.Shape = Dates
		out.Birth = c.subject == Birth
		if c.subject == Unknown && c.newest <= in.config.Now.Year() && c.newest-c.oldest >= generation {
			out.Birth = true
			say("its dates lie %d years apart and none is to come: dates of birth", c.newest-c.oldest)
		}
		return Quasi
	case out.Kind == Coordinates:
		return Quasi
	case c.subject == Record && !c.isKey(out.Ranking, in) && c.wholes+c.decimals == c.filled:
		// "account" and "card" are also amounts and counts.
		say("its numbers repeat, so that it is no key")
		return Quasi
	case c.subject != Unknown:
		return c.subject.role()
	case c.isKey(out.Ranking, in) && c.decimals == 0:
		say("%.0f %% of its values are distinct: it is a key", 100*out.Ranking.Distinction)
		return Direct
	}
	return Plain
}

func (c *column) isKey(r Ranking, in *Inspector) bool {
	return in.sample.len() >= enoughRows && r.Distinction >= nearlyUnique && c.filled == in.rows
}

func (c *column) isText(r Ranking) bool {
	return c.filled > 0 && c.length >= textLength*c.filled && c.spaces >= textSpaces*c.filled && (c.subject == Remarks || c.subject == Unknown || r.Distinction > 0.1)
}

func (c *column) shape() Shape {
	switch {
	case c.filled == 0:
		return Groups
	case c.subject == PostalCode, c.classes == digit && c.shortest == c.longest && c.longest >= 5, c.classes&letter != 0 && c.classes&digit != 0 && c.shortest == c.longest && c.longest <= 12:
		return Prefixes
	case c.wholes+c.decimals == c.filled:
		return Intervals
	}
	return Groups
}

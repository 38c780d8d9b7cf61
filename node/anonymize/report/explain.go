package report

import (
	"fmt"
	"slices"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
)

// Explain fills in what the guarantee means, what it leaves open, and what somebody should
// look at.
func (r *Report) Explain(models []guarantee.Model) {
	r.Meaning, r.NotCovered, r.Warnings = nil, nil, []string{}
	covered := map[string]bool{}
	for _, m := range models {
		sentence, column := meaning(m)
		r.Meaning = append(r.Meaning, sentence)
		covered[column] = true
		if s := open(m); s != "" {
			r.NotCovered = append(r.NotCovered, s)
		}
	}
	p := r.Parameters
	r.NotCovered = append(r.NotCovered,
		"The guarantee is about the quasi-identifiers ("+strings.Join(p.Quasi, ", ")+"). Whoever knows something else about a person that is in the release may still find the person.",
		"Two releases of one table, or this one beside another source, may tell together what neither tells alone.",
		"One row is taken for one person. A person with several rows is protected less.",
	)
	if len(covered) == 1 && covered[""] {
		r.NotCovered = append(r.NotCovered, "Rows that look the same may all have the same value in another column. Then everybody among them has it, and it need not be found out who is who. Models over sensitive columns are against that.")
	}
	if len(p.Unchanged) > 0 {
		r.NotCovered = append(r.NotCovered, "Columns that are published as they are: "+strings.Join(p.Unchanged, ", ")+".")
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s published unchanged: make sure that nobody can be known by %s.", count(len(p.Unchanged), "column is", "columns are"), strings.Join(p.Unchanged, ", ")))
	}
	if len(p.Pseudonyms) > 0 {
		r.NotCovered = append(r.NotCovered, "Pseudonyms ("+strings.Join(p.Pseudonyms, ", ")+") keep the rows of one person together, and whoever has their key can try values.")
	}
	for _, o := range p.Operations {
		if o.Text {
			r.NotCovered = append(r.NotCovered, "In "+o.Column+", identifiers that have a pattern are replaced by their kind. Names and descriptions of people have none and are not found.")
			r.Warnings = append(r.Warnings, "Read "+o.Column+", or drop it: names of people in free text are not found.")
		} else if !slices.Contains(p.Quasi, o.Column) {
			r.NotCovered = append(r.NotCovered, "What is left of "+o.Column+" ("+o.Name+") is published, and no model is about it.")
		}
		if o.Parts && covered[o.Column] {
			r.Warnings = append(r.Warnings, "The models of "+o.Column+" are about values that "+o.Name+" has made different: decide whether values that are near to each other count as one.")
		}
		if o.Leaves != "" {
			r.NotCovered = append(r.NotCovered, o.Column+" ("+o.Name+"): "+o.Leaves)
		}
	}
	for _, s := range p.Sensitive {
		if !covered[s] {
			r.Warnings = append(r.Warnings, "No model protects the sensitive column "+s+".")
		}
	}
	if !r.Search.Finished {
		r.Warnings = append(r.Warnings, "The search ended before it had looked at everything: the guarantee holds, and there may be a better release.")
	}
	if r.Utility.Rows > 0 && float64(r.Utility.Suppressed) > 0.1*float64(r.Utility.Rows) {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%.0f %% of the rows are left out, which is no random choice: rare people are missing.", 100*float64(r.Utility.Suppressed)/float64(r.Utility.Rows)))
	}
	if !p.Shuffled {
		r.Warnings = append(r.Warnings, "Rows are in the order of the table, which may say something by itself.")
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// open is what a model leaves open, in a sentence that begins with the model.
func open(m guarantee.Model) string {
	const of = "%s leaves open "
	leaves := ""
	switch m := m.(type) {
	case guarantee.KMap:
		leaves = "who has a row: somebody who knows that a person is in the table may tell the person apart. It holds as far as the population's table is complete and right."
	case guarantee.Presence:
		leaves = "what rows say about people, and holds for people of the population's table only, as far as that is complete and right."
	case guarantee.Distinct:
		leaves = "how frequent the values are, so that one may be nearly certain, and how much they are alike."
	case guarantee.Entropy:
		leaves = "how much the values are alike, and that some value becomes far likelier than it is in the whole table."
	case guarantee.Recursive:
		leaves = "how much the values are alike, and that a value other than the most frequent becomes far likelier than it is in the whole table."
	case guarantee.Closeness:
		leaves = "what the whole table tells about everybody in it, and that a rare value becomes many times likelier within the distance."
		if m.Ground == guarantee.Equal {
			leaves += " With equal distances, values that are alike count as different."
		}
	case guarantee.Likeness:
		leaves = "that a value becomes less likely than it is in the whole table, or impossible, and how much the values are alike."
	default:
		return "" // k-anonymity: said once for all models over quasi-identifiers alone
	}
	return fmt.Sprintf(of, m) + leaves
}

// meaning is a model in a sentence, and the sensitive column that it is about.
func meaning(m guarantee.Model) (sentence, column string) {
	switch m := m.(type) {
	case guarantee.K:
		return fmt.Sprintf("Nobody can be told apart by the quasi-identifiers from at least %d others: each row looks like at least %d rows in all.", int(m)-1, int(m)), ""
	case guarantee.KMap:
		return fmt.Sprintf("Each row looks like at least %d people of the population.", int(m)), ""
	case guarantee.Distinct:
		return fmt.Sprintf("Rows that look the same have at least %d different values of %s.", m.L, m.Column), m.Column
	case guarantee.Entropy:
		return fmt.Sprintf("Among rows that look the same, values of %s are spread as widely as %g equally frequent ones.", m.Column, m.L), m.Column
	case guarantee.Recursive:
		return fmt.Sprintf("Among rows that look the same, the most frequent value of %s is rarer than %g times all values together from number %d on.", m.Column, m.C, m.L), m.Column
	case guarantee.Closeness:
		return fmt.Sprintf("Among rows that look the same, %s is distributed as in the whole table, but for a distance of %g at most.", m.Column, m.T), m.Column
	case guarantee.Likeness:
		return fmt.Sprintf("Among rows that look the same, no value of %s is more than %g times likelier than it is in the whole table.", m.Column, 1+m.Beta), m.Column
	case guarantee.Presence:
		return fmt.Sprintf("Whether a person of the population is in the table can be told with a chance of %g to %g.", m.Min, m.Max), ""
	}
	return m.String() + ".", ""
}

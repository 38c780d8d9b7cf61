package measure

import (
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/partition"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Risks are the three attacks of El Emam, Guide to the De-Identification of Personal
// Health Information, 2013, chapter 16, on the rows that are published.
type Risks struct {
	Rows int
	// Prosecutor knows that a person has a row and looks for it.
	Prosecutor Risk
	// Journalist wants to find anybody, and knows the population but not who has a row.
	Journalist Risk
	// Marketer is the share of rows that someone assigns rightly who guesses all of them
	// among the population.
	Marketer float64
}

// Risk of the rows to one attack.
type Risk struct {
	// Highest is the chance of finding the row that is easiest to find.
	Highest float64
	// Average is the mean chance of all rows.
	Average float64
	// AtRisk is the share of rows whose chance is above the threshold.
	AtRisk float64
	// Smallest is the size of the smallest class that the attack meets.
	Smallest int
}

// Before is the risks of the table as it is. The threshold is a chance, such as 0.2.
func Before(t *table.Table, threshold float64) Risks {
	return risks(ints(t.Count()), ints(t.Population()), threshold)
}

// After is the risks of what a partition publishes.
func After(p *partition.Partition, threshold float64) Risks {
	rows, people := p.Sizes()
	return risks(rows, people, threshold)
}

// Sizes is how many classes there are of each size, ascending.
type Sizes []struct{ Rows, Classes int }

// SizesOf counts the classes of a partition.
func SizesOf(p *partition.Partition) (s Sizes) {
	rows, _ := p.Sizes()
	return count(rows)
}

// SizesBefore counts the combinations of a table.
func SizesBefore(t *table.Table) Sizes { return count(ints(t.Count())) }

func count(sizes []int) (s Sizes) {
	slices.Sort(sizes)
	for _, n := range sizes {
		if n == 0 {
			continue
		}
		if last := len(s) - 1; last >= 0 && s[last].Rows == n {
			s[last].Classes++
			continue
		}
		s = append(s, struct{ Rows, Classes int }{n, 1})
	}
	return s
}

func ints(counts []uint32) []int {
	out := make([]int, len(counts))
	for i, n := range counts {
		out[i] = int(n)
	}
	return out
}

func risks(rows, people []int, threshold float64) Risks {
	var r Risks
	for _, n := range rows {
		r.Rows += n
	}
	r.Prosecutor = risk(rows, rows, r.Rows, threshold)
	r.Journalist = risk(rows, people, r.Rows, threshold)
	r.Marketer = r.Journalist.Average
	return r
}

// risk of rows that each hide among the number in hidden.
func risk(rows, hidden []int, total int, threshold float64) (r Risk) {
	for i, n := range rows {
		if n == 0 {
			continue
		}
		chance := 1 / float64(hidden[i])
		share := float64(n) / float64(total)
		r.Highest = max(r.Highest, chance)
		r.Average += chance * share
		if chance > threshold {
			r.AtRisk += share
		}
		if r.Smallest == 0 || hidden[i] < r.Smallest {
			r.Smallest = hidden[i]
		}
	}
	return r
}

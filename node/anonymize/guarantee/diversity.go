package guarantee

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"cerebrum.dev/cerebrum/node/anonymize/quote"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// The three forms of l-diversity are from Machanavajjhala, Kifer, Gehrke and
// Venkitasubramaniam, l-Diversity: Privacy Beyond k-Anonymity, TKDD 1(1), 2007.

// Distinct is distinct l-diversity: each class has at least L different values of the
// sensitive column. Lasting: unions have all the values of their parts.
type Distinct struct {
	Column string
	L      int
}

func (d Distinct) String() string {
	return fmt.Sprintf("distinct %d-diversity of %s", d.L, quote.Name(d.Column))
}

func (d Distinct) valid() error {
	if d.L < 1 {
		return errors.New("l is at least 1")
	}
	return nil
}

func (d Distinct) bind(t *table.Table) (check, error) {
	s, err := column(t, d.Column)
	if err != nil {
		return check{}, err
	}
	if err := enough(t, s, d.L); err != nil {
		return check{}, err
	}
	holds := func(c *Class) bool { return len(c.Count[s]) >= d.L }
	return check{holds: holds, floor: d.L, lasting: true, column: s}, nil
}

// Entropy is entropy l-diversity: in each class the entropy of the sensitive values is
// at least log L. Not lasting: a union with rows of one value can lose entropy, though
// not below the least of its parts.
type Entropy struct {
	Column string
	L      float64
}

func (e Entropy) String() string {
	return fmt.Sprintf("entropy %v-diversity of %s", e.L, quote.Name(e.Column))
}

func (e Entropy) valid() error {
	if !(e.L >= 1 && e.L < math.MaxInt32) {
		return errors.New("l is at least 1")
	}
	return nil
}

func (e Entropy) bind(t *table.Table) (check, error) {
	s, err := column(t, e.Column)
	if err != nil {
		return check{}, err
	}
	least := int(math.Ceil(e.L))
	if err := enough(t, s, least); err != nil {
		return check{}, err
	}
	holds := func(c *Class) bool { return within(math.Log(e.L), entropy(c.Count[s], c.Rows)) }
	return check{holds: holds, floor: least, column: s}, nil
}

// entropy of counts that sum up to n, in nats.
func entropy(counts []uint32, n int) float64 {
	sum := 0.0
	for _, c := range counts {
		sum += float64(c) * math.Log(float64(c))
	}
	return math.Log(float64(n)) - sum/float64(n)
}

// Recursive is recursive (C, L)-diversity: in each class the most frequent sensitive
// value is rarer than C times all values from the L-th most frequent on together. Not
// lasting, like entropy l-diversity.
type Recursive struct {
	Column string
	C      float64
	L      int
}

func (r Recursive) String() string {
	return fmt.Sprintf("recursive (%v, %d)-diversity of %s", r.C, r.L, quote.Name(r.Column))
}

func (r Recursive) valid() error {
	if !(r.L >= 1 && r.C > 0) {
		return errors.New("l is at least 1 and c above 0")
	}
	return nil
}

func (r Recursive) bind(t *table.Table) (check, error) {
	s, err := column(t, r.Column)
	if err != nil {
		return check{}, err
	}
	if err := enough(t, s, r.L); err != nil {
		return check{}, err
	}
	holds := func(c *Class) bool {
		if len(c.Count[s]) < r.L {
			return false
		}
		counts := slices.Clone(c.Count[s])
		slices.Sort(counts)
		rest := 0.0
		for _, n := range counts[:len(counts)-r.L+1] {
			rest += float64(n)
		}
		return float64(counts[len(counts)-1]) < r.C*rest
	}
	return check{holds: holds, floor: r.L, column: s}, nil
}

// enough refuses what no class can have: more values than the column.
func enough(t *table.Table, s, l int) error {
	values := 0
	for _, n := range totals(t, s) {
		if n > 0 {
			values++
		}
	}
	if values < l {
		return fmt.Errorf("the column has %d different values, and each class would need %d", values, l)
	}
	return nil
}

// totals is how often each leaf of sensitive column s is in the table.
func totals(t *table.Table, s int) []int {
	n := make([]int, t.Sensitive()[s].Hierarchy.Len())
	all := t.Beside(s)
	for i, leaf := range all.Leaf {
		n[leaf] += int(all.Count[i])
	}
	return n
}

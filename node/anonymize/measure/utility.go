// Package measure says what a release is still good for and how far it protects.
//
// Utility compares what is published with the table: what cells lose, how large classes
// are, how far distributions moved. Risk is what an attacker who knows the
// quasi-identifiers of people can expect, before and after.
package measure

import (
	"math"

	"cerebrum.dev/cerebrum/node/anonymize/partition"
)

// Utility of a release. A suppressed row counts as one of which nothing is known.
type Utility struct {
	Rows, Suppressed, Classes int
	// GCP is the global certainty penalty, 0 for the table itself and 1 where nothing is
	// left: the mean of the columns' NCP. Xu et al., KDD 2006; Ghinita et al., VLDB 2007.
	GCP float64
	// Granularity is the mean share of its column's values that a cell may stand for, from
	// 0 for the table itself to 1 (Iyengar, KDD 2002). It differs from GCP in that columns
	// of few values, which have less to lose, count less. ARX reports 1 minus it.
	Granularity float64
	// Discernibility is the sum of the squared sizes of classes, a suppressed row
	// counting as many as the table has. Bayardo and Agrawal, ICDE 2005.
	Discernibility float64
	// AverageClass is the published rows of a class on average, 0 without classes.
	AverageClass float64
	// Entropy is the share of the table's information that is lost, over all columns: see
	// [Column.Entropy]. ARX reports 1 minus it as non-uniform entropy.
	Entropy float64
	// KL is the divergence, in nats, of the table's joint distribution of
	// quasi-identifiers from the release's, in which the rows of a class are spread evenly
	// over all that its labels may stand for. Where classes overlap it is an upper bound.
	// Kifer and Gehrke, SIGMOD 2006.
	KL      float64
	Columns []Column
}

// Column is the utility of one quasi-identifier.
type Column struct {
	Name string
	// NCP is the mean normalised certainty penalty of the cells, from 0 to 1.
	NCP float64
	// Entropy is the share of the column's information that is lost: how much is to be
	// learned of the values from their labels, over how much there was to learn of them.
	// It is 0 for a column of one value. De Waal and Willenborg, Netherlands Official
	// Statistics 14, 1999, and where rows are at several levels of a hierarchy Prasser,
	// Bild and Kuhn, MIE 2016.
	Entropy float64
	// Labels is how many different ones are published.
	Labels int
}

// CAvg is the mean class size as a multiple of k: 1 is the least that k-anonymity
// allows. LeFevre, DeWitt and Ramakrishnan, ICDE 2006.
func (u Utility) CAvg(k int) float64 { return u.AverageClass / float64(k) }

// UtilityOf measures a partition.
func UtilityOf(p *partition.Partition) Utility {
	u := Utility{Rows: p.Table.Rows(), Suppressed: p.Suppressed()}
	sizes, _ := p.Sizes()
	for _, n := range sizes {
		if n > 0 {
			u.Classes++
		}
		u.Discernibility += float64(n) * float64(n)
	}
	u.Discernibility += float64(u.Suppressed) * float64(u.Rows)
	if u.Classes > 0 {
		u.AverageClass = float64(u.Rows-u.Suppressed) / float64(u.Classes)
	}
	u.KL = divergence(p, sizes, u.Suppressed)
	u.columns(p)
	return u
}

func (u *Utility) columns(p *partition.Partition) {
	columns := float64(len(p.Table.Quasi()))
	missed, whole, share, least := 0.0, 0.0, 0.0, 0.0
	for q, column := range p.Table.Quasi() {
		c := Column{Name: column.Name}
		published := map[uint32]bool{}
		for i, class := range p.Class {
			penalty := 1.0
			if class != partition.Suppressed {
				penalty = column.Hierarchy.Penalty(p.Label(class, q).Leaves)
				published[p.Number(class, q)] = true
			}
			c.NCP += float64(p.Table.Count()[i]) / float64(u.Rows) * penalty
		}
		c.Labels = len(published)
		bits, all := lost(p, q), unknown(p, q)
		if all > 0 {
			c.Entropy = bits / all
		}
		missed, whole = missed+bits, whole+all
		value := 1 / float64(column.Hierarchy.Len())
		share, least = share+value+c.NCP*(1-value), least+value
		u.GCP += c.NCP / columns
		u.Columns = append(u.Columns, c)
	}
	if whole > 0 {
		u.Entropy = missed / whole
	}
	if least < columns {
		u.Granularity = (share - least) / (columns - least)
	}
}

// divergence is [Utility.KL].
func divergence(p *partition.Partition, sizes []int, suppressed int) float64 {
	t := p.Table
	n := float64(t.Rows())
	cells := func(class int32) float64 { // logarithm of how many combinations its labels allow
		sum := 0.0
		for q, c := range t.Quasi() {
			leaves := c.Hierarchy.Len()
			if class != partition.Suppressed {
				leaves = p.Label(class, q).Leaves
			}
			sum += math.Log(float64(leaves))
		}
		return sum
	}
	spread := make([]float64, len(sizes)) // logarithm of the release's share of one combination
	for class, rows := range sizes {
		spread[class] = math.Log(float64(rows)/n) - cells(int32(class))
	}
	lost := math.Log(float64(suppressed)/n) - cells(partition.Suppressed)
	sum := 0.0
	for i, rows := range t.Count() {
		if rows == 0 {
			continue
		}
		share, published := float64(rows)/n, lost
		if p.Class[i] != partition.Suppressed {
			published = spread[p.Class[i]]
		}
		sum += share * (math.Log(share) - published)
	}
	return sum
}

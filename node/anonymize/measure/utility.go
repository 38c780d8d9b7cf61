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
	// Discernibility is the sum of the squared sizes of classes, a suppressed row
	// counting as many as the table has. Bayardo and Agrawal, ICDE 2005.
	Discernibility float64
	// AverageClass is the published rows of a class on average, 0 without classes.
	AverageClass float64
	// Entropy is the mean of the columns' Entropy.
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
	// Entropy is the share of the column's information that is lost: how much is still
	// to be learned of a value from its label, over how much there was to learn of it
	// (Gionis and Tassa, TKDE 2009). It is 0 for a column of one value.
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
	for q := range p.Table.Quasi() {
		c := columnOf(p, q)
		u.Columns = append(u.Columns, c)
		u.GCP += c.NCP / float64(len(p.Table.Quasi()))
		u.Entropy += c.Entropy / float64(len(p.Table.Quasi()))
	}
	u.KL = divergence(p, sizes, u.Suppressed)
	return u
}

// columnOf counts how often each leaf and each label is there, the suppressed rows being
// a label of their own that stands for the whole column.
func columnOf(p *partition.Partition, q int) Column {
	t, h := p.Table, p.Table.Quasi()[q].Hierarchy
	n := float64(t.Rows())
	labels := p.Labels(q)
	byLeaf, byLabel := make([]float64, h.Len()), make([]map[uint32]float64, len(labels))
	c := Column{Name: t.Quasi()[q].Name}
	for i, leaf := range t.Leaves(q) {
		rows := float64(t.Count()[i])
		byLeaf[leaf] += rows
		if p.Class[i] == partition.Suppressed {
			c.NCP += rows / n
			continue
		}
		l := p.Number(p.Class[i], q)
		c.NCP += rows / n * h.Penalty(labels[l].Leaves)
		if byLabel[l] == nil {
			byLabel[l] = map[uint32]float64{}
		}
		byLabel[l][leaf] += rows
	}
	unknown := 0.0 // what there is to learn of the column, in all rows
	for _, rows := range byLeaf {
		unknown += surprise(rows, n)
	}
	open := 0.0
	for _, leaves := range byLabel {
		open += openness(leaves, byLeaf)
	}
	for i, leaf := range t.Leaves(q) {
		if p.Class[i] == partition.Suppressed {
			open += surpriseOf(float64(t.Count()[i]), byLeaf[leaf], n)
		}
	}
	if unknown > 0 {
		c.Entropy = open / unknown
	}
	for _, leaves := range byLabel {
		if len(leaves) > 0 {
			c.Labels++
		}
	}
	return c
}

// openness is what is still to be learned of the rows under one label, by how frequent
// each of its values is in the whole table.
func openness(rows map[uint32]float64, byLeaf []float64) float64 {
	total := 0.0
	for leaf := range rows {
		total += byLeaf[leaf]
	}
	sum := 0.0
	for leaf, n := range rows {
		sum += surpriseOf(n, byLeaf[leaf], total)
	}
	return sum
}

func surprise(rows, of float64) float64 { return surpriseOf(rows, rows, of) }

// surpriseOf is what so many rows tell that have a value of this frequency, in bits.
func surpriseOf(rows, frequency, of float64) float64 {
	if rows == 0 {
		return 0
	}
	return -rows * math.Log2(frequency/of)
}

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

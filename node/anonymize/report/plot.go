package report

import "fmt"

// Plots are horizontal bars under their labels, so that they stay readable on a phone,
// however long a label is.
const (
	plotWidth = 480
	barRight  = 400 // where a bar of 1 ends; its value stands behind it
	barHeight = 14
	labelLine = 18
	rowGap    = 10
)

// plot is what the page draws.
type plot struct {
	Title  string
	Width  int
	Height int
	Right  int
	Rows   []plotRow
	Paired bool // before and after
}

type plotRow struct {
	Label  string
	LabelY int
	Bars   []bar
}

type bar struct {
	Class string // before or after
	Y     int
	Width float64
	Text  string
	TextX float64
	TextY int
}

// pair is a label with its shares before and after.
type pair struct {
	label         string
	before, after float64
}

func paired(title string, pairs []pair) plot {
	p := newPlot(title)
	p.Paired = true
	for _, x := range pairs {
		p.add(x.label, bar{Class: "before", Width: x.before}, bar{Class: "after", Width: x.after})
	}
	return p
}

func newPlot(title string) plot {
	return plot{Title: title, Width: plotWidth, Right: barRight}
}

// add appends a row of bars, whose widths are shares of 1.
func (p *plot) add(label string, bars ...bar) {
	row := plotRow{Label: shorten(label), LabelY: p.Height + labelLine - 5}
	p.Height += labelLine
	for _, b := range bars {
		share := b.Width
		b.Y, b.Width = p.Height, share*barRight
		b.Text, b.TextX, b.TextY = percent(share), b.Width+6, p.Height+barHeight-3
		row.Bars = append(row.Bars, b)
		p.Height += barHeight
	}
	p.Height += rowGap
	p.Rows = append(p.Rows, row)
}

func shorten(label string) string {
	const most = 50
	if r := []rune(label); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return label
}

func (r *Report) riskPlot() plot {
	b, a := r.Risk.Before, r.Risk.After
	return paired("Chance that a row is found, before and after", []pair{
		{"Prosecutor, highest", b.Prosecutor.Highest, a.Prosecutor.Highest},
		{"Prosecutor, average", b.Prosecutor.Average, a.Prosecutor.Average},
		{"Journalist, highest", b.Journalist.Highest, a.Journalist.Highest},
		{"Journalist, average", b.Journalist.Average, a.Journalist.Average},
		{"Marketer", b.Marketer, a.Marketer},
		{"Rows above " + percent(r.Risk.Threshold), b.Prosecutor.AtRisk, a.Prosecutor.AtRisk},
	})
}

// steps are the least sizes of the bins in which classes are counted.
var steps = []int{1, 2, 5, 10, 20, 50, 100, 1000, 10_000}

// classPlot is the share of rows in classes of each size.
func (r *Report) classPlot() plot {
	before, after := shares(r.Classes.Before), shares(r.Classes.After)
	var pairs []pair
	for i, low := range steps {
		label := fmt.Sprintf("%d rows and more", low)
		switch {
		case low == 1:
			label = "alone"
		case i+1 < len(steps):
			label = fmt.Sprintf("among %d to %d rows", low, steps[i+1]-1)
		}
		if before[i] > 0 || after[i] > 0 {
			pairs = append(pairs, pair{label, before[i], after[i]})
		}
	}
	return paired("Share of rows by the size of their class, before and after", pairs)
}

func shares(sizes []Size) []float64 {
	out, total := make([]float64, len(steps)), 0.0
	for _, s := range sizes {
		bin := 0
		for i, low := range steps {
			if s.Rows >= low {
				bin = i
			}
		}
		n := float64(s.Rows) * float64(s.Classes)
		out[bin] += n
		total += n
	}
	for i := range out {
		if total > 0 {
			out[i] /= total
		}
	}
	return out
}

// columnPlot is what is left of each quasi-identifier.
func (r *Report) columnPlot() plot {
	p := newPlot("What is left of each quasi-identifier (100 % is all)")
	for _, c := range r.Utility.Columns {
		p.add(c.Name, bar{Class: "after", Width: max(0, 1-c.NCP)})
	}
	return p
}

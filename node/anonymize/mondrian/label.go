package mondrian

import (
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
)

// publish makes a class of a box.
func (d *division) publish(box []uint32) {
	d.bounds(box)
	for q, c := range d.table.Quasi() {
		h := c.Hierarchy
		switch {
		case d.low[q] == d.high[q]:
			d.label[q] = partition.Label{Text: h.Value(d.low[q]), Leaves: 1}
		case h.Numeric():
			d.label[q] = d.rangeOf(h, box, q)
		default:
			d.label[q] = d.setOf(h, box, q)
		}
	}
	class := d.out.Add(d.label)
	for _, i := range box {
		d.out.Class[i] = class
	}
}

// rangeOf is the label of numbers, "17-23", or "[-1.5, 3]" where a hyphen would be
// hard to read. A missing value, which is the last leaf, is named beside it.
func (d *division) rangeOf(h *hierarchy.Hierarchy, box []uint32, q int) partition.Label {
	low, high, missing := d.low[q], d.high[q], h.Value(d.high[q]) == ""
	if missing {
		high = low
		for _, i := range box {
			if leaf := d.leaf(i, q); leaf != d.high[q] {
				high = max(high, leaf)
			}
		}
	}
	l := partition.Label{Text: rangeText(h.Value(low), h.Value(high)), Leaves: int(high-low) + 1}
	if missing {
		l.Text += " or missing"
		l.Leaves++
	}
	return l
}

func rangeText(low, high string) string {
	switch {
	case low == high:
		return low
	case strings.ContainsAny(low+high, "-+. "):
		return "[" + low + ", " + high + "]"
	}
	return low + "-" + high
}

// setOf is the label of other values, "{Divorced, Widowed}", in the order of the leaves.
// Values that would be hard to tell apart in it are quoted.
func (d *division) setOf(h *hierarchy.Hierarchy, box []uint32, q int) partition.Label {
	values := d.tally(box, q)
	if len(values) == h.Len() {
		return partition.Label{Text: hierarchy.Any, Leaves: len(values)}
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = quoted(h.Value(v.leaf))
	}
	return partition.Label{Text: "{" + strings.Join(texts, ", ") + "}", Leaves: len(values)}
}

func quoted(value string) string {
	if value == "" || strings.ContainsAny(value, ",{}\"") {
		return strconv.Quote(value)
	}
	return value
}

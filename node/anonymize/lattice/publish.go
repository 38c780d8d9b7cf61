package lattice

import (
	"context"
	"fmt"

	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/partition"
)

func (r *search) nothing(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("no release was found in the time given: %w", err)
	}
	return &guarantee.NothingError{Guarantees: r.space.req.String(), Rows: r.space.table.Rows(), Suppressed: r.limit}
}

// publish puts the classes of the best node that hold into p.
func (r *search) publish(p *partition.Partition) {
	g := newGrouper(r.space)
	c := g.group(r.base, r.best.node)
	held, class := r.space.holds(c, nil), make([]int32, c.len())
	for i := range class {
		class[i] = partition.Suppressed
	}
	for i := range p.Class {
		to := g.to[i]
		if held[to] && class[to] == partition.Suppressed {
			class[to] = p.Add(r.space.labels(c.at, i))
		}
		p.Class[i] = class[to]
	}
}

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
	g := &grouper{space: r.space}
	c := g.group(r.base, r.best.node)
	class := make([]int32, len(c.keys))
	for i, held := range r.space.holds(c, nil) {
		class[i] = partition.Suppressed
		if held {
			class[i] = p.Add(r.space.labels(c.at, c.keys[i]))
		}
	}
	for i := range p.Class {
		p.Class[i] = class[g.to[i]]
	}
}

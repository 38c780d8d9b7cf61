package quorum

import (
	"slices"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/crypto/statement"
)

// A committee that is slow as a whole is not asked for more because of that; one
// silent validator does not slow the others' readers down.
func TestSilenceOfOneAndSlownessOfAll(t *testing.T) {
	var p pace
	server := func(i int) statement.PublicKey { return statement.PublicKey{byte(i)} }
	now := time.Unix(1000, 0)
	if got := p.hedge(); got != hedgeAtLeast {
		t.Errorf("at first %v, want %v", got, hedgeAtLeast)
	}
	for range 100 {
		p.answered(server(0), 5*time.Millisecond)
		p.waited(server(3), now) // counts for nothing in the mean
	}
	if got := p.hedge(); got != hedgeAtLeast {
		t.Errorf("with fast answers %v, want %v", got, hedgeAtLeast)
	}
	order := []int{3, 1, 0, 2}
	p.order(order, server, now.Add(time.Second))
	if !slices.Equal(order, []int{1, 0, 2, 3}) {
		t.Errorf("asked in the order %v, want the silent one last", order)
	}
	order = []int{3, 1, 0, 2}
	p.order(order, server, now.Add(silentFor))
	if order[0] != 3 { // control, and its second chance
		t.Errorf("asked in the order %v, though the silence was long ago", order)
	}
	p.answered(server(3), time.Millisecond)
	order = []int{3, 1, 0, 2}
	p.order(order, server, now)
	if order[0] != 3 {
		t.Errorf("asked in the order %v, though it has answered since", order)
	}
	for range 100 {
		p.answered(server(0), 200*time.Millisecond)
	}
	if got := p.hedge(); got < 500*time.Millisecond || got > 601*time.Millisecond {
		t.Errorf("with answers of 200 ms %v, want three times that", got)
	}
	for range 100 {
		p.answered(server(0), time.Hour)
	}
	if got := p.hedge(); got != hedgeAtMost {
		t.Errorf("%v, want %v at most", got, hedgeAtMost)
	}
}

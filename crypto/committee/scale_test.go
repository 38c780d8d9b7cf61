package committee

import (
	"errors"
	"testing"
)

func TestScaleRefused(t *testing.T) {
	_, _, c := mustDeal(t, 4, 3)
	for _, scale := range [][32]byte{{}, order} {
		if _, err := (Scaled{scale, c}).Parse(3); !errors.Is(err, ErrCommitments) {
			t.Errorf("scale %x: %v", scale, err)
		}
	}
}

package trust_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cerebrum.dev/cerebrum/acl/trust"
)

func TestInequalities(t *testing.T) {
	for _, c := range []struct {
		n, f, k, t uint16
		breaks     string // the rule in the message; empty: accepted
	}{
		{1, 0, 1, 1, ""},
		{2, 0, 2, 2, ""},
		{2, 0, 2, 1, ""},
		{3, 0, 2, 2, ""},
		{4, 1, 3, 3, ""},
		{5, 1, 4, 3, ""},
		{5, 1, 4, 4, ""},
		{7, 2, 5, 5, ""},
		{9, 2, 6, 5, ""},
		{9, 2, 7, 7, ""},
		{10, 3, 7, 7, ""},
		{64, 21, 43, 43, ""},
		{0, 0, 0, 0, "1 <= n <= 64"},
		{65, 0, 33, 33, "1 <= n <= 64"},
		{3, 1, 2, 3, "n >= 3f+1"},
		{6, 2, 4, 4, "n >= 3f+1"},
		{4, 65535, 3, 3, "n >= 3f+1"},
		{4, 1, 2, 3, "2k >= n+f+1"},
		{9, 2, 5, 5, "2k >= n+f+1"}, // 5 of 9 is unsafe with one traitor already
		{9, 1, 5, 5, "2k >= n+f+1"},
		{2, 0, 1, 1, "2k >= n+f+1"},
		{4, 1, 0, 0, "2k >= n+f+1"},
		{4, 1, 4, 3, "k <= n-f"},
		{9, 2, 8, 5, "k <= n-f"},
		{4, 0, 65535, 1, "k <= n-f"},
		{4, 1, 3, 2, "t >= 2f+1"},
		{4, 0, 3, 0, "t >= 2f+1"},
		{7, 2, 5, 4, "t >= 2f+1"},
		{4, 1, 3, 4, "t <= n-f"},
		{9, 2, 6, 8, "t <= n-f"},
		{4, 0, 3, 4, "t <= k"},
		{9, 2, 6, 7, "t <= k"},
	} {
		err := trust.Numbers{N: c.n, F: c.f, K: c.k, T: c.t}.Check()
		if c.breaks == "" {
			if err != nil {
				t.Errorf("n=%d f=%d k=%d t=%d: %v", c.n, c.f, c.k, c.t, err)
			}
			continue
		}
		want := fmt.Sprintf("n=%d f=%d k=%d t=%d break %s", c.n, c.f, c.k, c.t, c.breaks)
		if !errors.Is(err, trust.ErrInequality) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, want ... %s", err, want)
		}
	}
}

// What the inequalities are for, said without them: whoever accepts numbers
// accepts these sentences.
func TestWhatAcceptedNumbersPromise(t *testing.T) {
	accepted := 0
	for n := range 14 {
		for f := range n + 2 {
			for k := range n + 2 {
				for s := range n + 2 {
					m := trust.Numbers{N: uint16(n), F: uint16(f), K: uint16(k), T: uint16(s)}
					common, honestShares, alive := 2*k-n, s-f, n-f
					promises := n > 0 &&
						common > f && // two quorums share an honest validator: nothing is decided both ways
						alive >= k && alive >= s && // without f validators statements are signed and keys open
						honestShares > f && // more honest than lying shares are in each answer
						s <= k && // who may sign a grant is no easier to collect than who may open a key
						n > 3*f
					if got := m.Check() == nil; got != promises {
						t.Errorf("n=%d f=%d k=%d t=%d: accepted %v, promises hold %v", n, f, k, s, got, promises)
					}
					if promises {
						accepted++
						if e := m.Effective(); e > n || e-f < n-s+1 {
							t.Errorf("%+v: effective at %d acknowledgements", m, e)
						}
					}
				}
			}
		}
	}
	if accepted < 50 {
		t.Errorf("control: only %d sets of numbers are accepted", accepted)
	}
}

func TestDefaults(t *testing.T) {
	for n := 1; n <= trust.MaxValidators; n++ {
		m := trust.Default(n)
		if err := m.Check(); err != nil || int(m.N) != n {
			t.Errorf("n=%d: %+v, %v", n, m, err)
			continue
		}
		if more := (trust.Numbers{N: m.N, F: m.F + 1, K: m.K + 1, T: m.T + 1}); n >= 3*int(more.F)+1 {
			t.Errorf("n=%d survives %d faults, could survive %d", n, m.F, more.F)
		}
		if less := (trust.Numbers{N: m.N, F: m.F, K: m.K - 1, T: m.T - 1}); less.Check() == nil {
			t.Errorf("n=%d asks for %d signatures, could ask for %d", n, m.K, less.K)
		}
	}
	if got := trust.Default(4); got != (trust.Numbers{N: 4, F: 1, K: 3, T: 3}) || got.Effective() != 3 {
		t.Errorf("four validators: %+v, effective at %d", got, got.Effective())
	}
	if got := trust.Default(1); got != (trust.Numbers{N: 1, F: 0, K: 1, T: 1}) || got.Effective() != 1 {
		t.Errorf("one validator: %+v, effective at %d", got, got.Effective())
	}
	for _, n := range []int{0, -1, -4, trust.MaxValidators + 1, 65536} {
		if trust.Default(n).Check() == nil {
			t.Errorf("a committee of %d is accepted: %+v", n, trust.Default(n))
		}
	}
}

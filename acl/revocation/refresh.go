package revocation

import (
	"context"
	"fmt"
)

// Refresh asks every validator now and returns as soon as enough of them have
// answered and their logs were pulled: what is effective is known then. The
// slower ones are left to answer in the background, for up to ten seconds. The
// error says that too few answered.
func (t *Tracker) Refresh(ctx context.Context) error {
	if err := t.adapt(); err != nil {
		return err
	}
	need, others := t.need(t.Trust.Current()), t.others()
	if need == 0 {
		return nil
	}
	background, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTime)
	answers := make(chan error, len(others))
	for _, i := range others {
		go func() { // ends within roundTime
			err := t.Ask(background, i)
			if err != nil {
				t.Log.Debug("freshness", "validator", i+1, "err", err)
			}
			answers <- err
		}()
	}
	enough := make(chan bool, 1)
	go func() { // ends with the last answer, so within roundTime
		defer cancel()
		ok := 0
		for range others {
			if err := <-answers; err == nil {
				if ok++; ok == need {
					enough <- true
				}
			}
		}
		if ok < need {
			enough <- false
		}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case yes := <-enough:
		if !yes {
			return fmt.Errorf("fewer than %d validators answered", need)
		}
		return nil
	}
}

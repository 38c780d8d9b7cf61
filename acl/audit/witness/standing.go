package witness

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
)

// Standing is how far a log is witnessed.
type Standing struct {
	Size     int64 // records in the log
	Cosigned int64 // of them under the checkpoint that witnesses signed; 0: none
	// Have is how many validators of the record signed that one, Need how many make a
	// quorum, Of how many there are.
	Have, Need, Of int
	// Age is the time since the quorum was there: K of them have signed at least that
	// lately, so that no F of them can make it look fresher. Without a quorum it is 0.
	Age time.Duration
	// Behind is how long records have waited for a quorum, as far as this process
	// knows. Above [Lag] something is wrong.
	Behind time.Duration
	// Refused says in words which validators refuse to sign, or sign what does not hold.
	Refused []string
}

// Standing says how far the log is witnessed by the validators of a record.
func (c *Collector) Standing(record *trust.Committee) (Standing, error) {
	kept, now := c.Log.Cosigned(), c.Now()
	s := Standing{Size: c.Log.Size(), Cosigned: kept.N, Need: int(record.Numbers.K), Of: len(record.Validators)}
	signed, err := cosigners(record, kept.Note)
	if err != nil {
		return s, err
	}
	if s.Have = len(signed); s.Have >= s.Need {
		var times []int64
		for _, t := range signed {
			times = append(times, t)
		}
		slices.Sort(times)
		s.Age = max(0, now.Sub(time.Unix(times[len(times)-s.Need], 0)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waiting.IsZero() {
		s.Behind = now.Sub(c.waiting)
	}
	for i, v := range record.Validators {
		if t, ok := c.troubles[v.Witness]; ok && !errors.Is(t.err, errUnreachable) {
			s.Refused = append(s.Refused, fmt.Sprintf("validator %d: %v", i+1, t.err))
		}
	}
	return s, nil
}

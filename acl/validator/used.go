package validator

import (
	"fmt"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/audit/journal"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// usedWindow is how far back keys are counted, in buckets of an hour.
const (
	usedHours  = 24
	usedWindow = usedHours * time.Hour
	// maxUsers bounds who is counted apart. All others are counted together, as
	// one: a ceiling then comes too early for them, and never too late.
	maxUsers = 1 << 16
)

// counter counts the keys released to each principal in the last 24 hours: those
// of the hour under way and of the 24 before it. The zero value is empty.
type counter struct {
	mu     sync.Mutex
	users  map[statement.ID]*tallied
	others tallied
}

// tallied are one principal's hours; hour h is kept at h modulo their number.
type tallied struct {
	hour [usedHours + 1]int64 // since 1970, that a bucket is for
	keys [usedHours + 1]int64
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

func (t *tallied) add(hour int64, n int64) {
	i := hour % int64(len(t.hour))
	if t.hour[i] != hour {
		if t.hour[i] > hour || n < 0 {
			return // the bucket is a later hour's already
		}
		t.hour[i], t.keys[i] = hour, 0
	}
	t.keys[i] += n
}

func (t *tallied) sum(now int64) (n int64) {
	for i, h := range t.hour {
		if h >= now-usedHours {
			n += t.keys[i]
		}
	}
	return n
}

// of finds a principal's count; with room it makes one.
func (c *counter) of(who statement.ID, now int64) *tallied {
	if t := c.users[who]; t != nil {
		return t
	}
	if len(c.users) >= maxUsers {
		for id, t := range c.users {
			if t.sum(now) == 0 {
				delete(c.users, id)
			}
		}
		if len(c.users) >= maxUsers {
			return &c.others
		}
	}
	if c.users == nil {
		c.users = map[statement.ID]*tallied{}
	}
	t := &tallied{}
	c.users[who] = t
	return t
}

// take counts n keys and returns how many were counted before.
func (c *counter) take(who statement.ID, now time.Time, n int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.of(who, hourOf(now))
	before := t.sum(hourOf(now))
	t.add(hourOf(now), int64(n))
	return before
}

// giveBack takes n keys off what take counted.
func (c *counter) giveBack(who statement.ID, now time.Time, n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of(who, hourOf(now)).add(hourOf(now), -int64(n))
}

func (c *counter) count(who statement.ID, now time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.users[who]; t != nil {
		return t.sum(hourOf(now))
	}
	if len(c.users) >= maxUsers {
		return c.others.sum(hourOf(now))
	}
	return 0
}

// Recount counts the keys of the last 24 hours from the audit log, once, before the
// first request. scan gives the entries of the log; it need not open what they are
// about, since the log knows who is behind a pseudonym. Who was forgotten is counted
// from nothing.
func (j *Judge) Recount(scan func(fn func(e *journal.Entry) error) error) error {
	since := j.Now().Add(-usedWindow)
	err := scan(func(e *journal.Entry) error {
		if e.Leaf == nil || e.Leaf.Action != event.Release || e.Leaf.Outcome != event.OK || !e.Time().After(since) {
			return nil
		}
		if who, known := e.Actor(); known {
			j.used.take(who, e.Time(), 1)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the released keys cannot be counted: %w", err)
	}
	return nil
}

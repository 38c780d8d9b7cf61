package validator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/revocation"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Labels that say how long an object is kept. The owner signs them with the dealing.
const (
	LabelRetention   = "retention"    // RetainGovernance or RetainCompliance
	LabelRetainUntil = "retain-until" // a time in RFC 3339, in UTC and whole seconds
	LabelExpireAt    = "expire-at"    // likewise
)

// Modes of retention.
const (
	// RetainGovernance keeps a key until its time against everybody but who may
	// override it.
	RetainGovernance = "governance"
	// RetainCompliance keeps it against everybody. The time is never brought forward.
	RetainCompliance = "compliance"
)

// ErrRetention reports labels of retention that do not hold together.
var ErrRetention = errors.New("the labels of retention are wrong")

// Retention is how long an object must and may be kept. The zero value is an object
// that its owner may erase at any time.
type Retention struct {
	Mode   string
	Until  int64 // Unix seconds from which it may be erased; 0: at once
	Expire int64 // Unix seconds at which its owner's node erases it; 0: never
}

// ReadRetention reads the labels of an object strictly: retention and retain-until
// stand together or not at all, each once, and nothing expires while it is retained.
// Every error is [ErrRetention].
func ReadRetention(labels []Label) (r Retention, err error) {
	seen := map[string]bool{}
	for _, l := range labels {
		switch l.Key {
		case LabelRetention:
			r.Mode = l.Value
		case LabelRetainUntil:
			r.Until, err = retentionTime(l)
		case LabelExpireAt:
			r.Expire, err = retentionTime(l)
		default:
			continue
		}
		if err == nil && seen[l.Key] {
			err = fmt.Errorf("%w: %s stands twice", ErrRetention, l.Key)
		}
		if err != nil {
			return Retention{}, err
		}
		seen[l.Key] = true
	}
	bad := func(why string) (Retention, error) { return Retention{}, fmt.Errorf("%w: %s", ErrRetention, why) }
	switch {
	case seen[LabelRetention] != seen[LabelRetainUntil]:
		return bad("retention and retain-until go together")
	case seen[LabelRetention] && r.Mode != RetainGovernance && r.Mode != RetainCompliance:
		return bad("retention is governance or compliance")
	case r.Expire > 0 && r.Expire < r.Until:
		return bad("it would expire while it is retained")
	}
	return r, nil
}

func retentionTime(l Label) (int64, error) {
	t, err := time.Parse(time.RFC3339, l.Value)
	if err != nil || t.Unix() <= 0 || StampRetention(t) != l.Value {
		return 0, fmt.Errorf("%w: %s is a time like 2031-12-31T00:00:00Z", ErrRetention, l.Key)
	}
	return t.Unix(), nil
}

// StampRetention writes a time as the labels have it.
func StampRetention(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// Retained reports whether a time is one at which the object must not be erased.
func (r Retention) Retained(now time.Time) bool { return r.Mode != "" && now.Unix() < r.Until }

// Follows reports, with [ErrRetention], a retention that would shorten the one
// before, until that one is over: in the mode compliance nobody may, in the mode
// governance whoever has the role. What is longer, or stricter, is allowed.
func (r Retention) Follows(old Retention, now time.Time) error {
	if !old.Retained(now) {
		return nil
	}
	if r.Until < old.Until || old.Mode == RetainCompliance && r.Mode != RetainCompliance {
		return fmt.Errorf("%w: it is retained until %s in the mode %s, and that is not shortened", ErrRetention, StampRetention(time.Unix(old.Until, 0)), old.Mode)
	}
	return nil
}

// String is the retention in words.
func (r Retention) String() string {
	at := func(unix int64) string { return StampRetention(time.Unix(unix, 0)) }
	out := "until its owner erases it"
	if r.Expire > 0 {
		out = "until " + at(r.Expire) + ", when its owner's node erases it"
	}
	if r.Mode != "" {
		out += "; not before " + at(r.Until) + " (" + r.Mode + ")"
	}
	return out
}

// RoleRetention is the role whose holders may erase, with an order that says so,
// what they own and retain in the mode governance, and may bring its time forward.
const RoleRetention = "retention-override"

// OverridePrefix begins the reason of an order to erase that overrides a retention in
// the mode governance; why it does follows.
const OverridePrefix = "override retention: "

// retention is how long a key that is deposited here is kept. Labels that do not
// hold together are those of no deposit that was taken here; they retain nothing.
func (j *Judge) retention(key statement.ID) (Retention, error) {
	dep, err := j.loadKey(key)
	if errors.Is(err, kv.ErrNotFound) {
		return Retention{}, nil
	}
	if err != nil {
		return Retention{}, err
	}
	d, _, err := readDealing(dep.Dealing)
	if err != nil {
		return Retention{}, err
	}
	r, _ := ReadRetention(d.Labels)
	return r, nil
}

// retained reports what forbids an order to destroy a key now.
func (j *Judge) retained(key statement.ID, order *revocation.Erasure) error {
	r, err := j.retention(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	now := j.Now()
	if !r.Retained(now) || r.Mode == RetainGovernance && j.mayOverride(order, now) {
		return nil
	}
	return &broken{"retention-" + r.Mode, "retained until " + StampRetention(time.Unix(r.Until, 0))}
}

// mayOverride reports whether an order says that it overrides a retention, gives a
// reason, and is of somebody whom K validators gave the role.
func (j *Judge) mayOverride(order *revocation.Erasure, now time.Time) bool {
	why, explicit := strings.CutPrefix(order.Reason, OverridePrefix)
	return explicit && strings.TrimSpace(why) != "" && slices.Contains(j.Roles.Roles(order.Owner, now), RoleRetention)
}

// keepsLonger reports whether a dealing of a key that is held here retains it no
// shorter than the one before, or its owner may shorten that.
func (j *Judge) keepsLonger(old, next *Dealing) bool {
	before, err := ReadRetention(old.Labels)
	if err != nil {
		return true
	}
	after, err := ReadRetention(next.Labels)
	if err != nil {
		return false
	}
	now := j.Now()
	return after.Follows(before, now) == nil ||
		before.Mode == RetainGovernance && slices.Contains(j.Roles.Roles(next.Owner, now), RoleRetention)
}

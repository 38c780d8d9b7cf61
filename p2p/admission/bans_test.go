package admission

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"cerebrum.dev/cerebrum/acl/kv"

	"github.com/libp2p/go-libp2p/core/peer"
)

// court is bans with a clock that moves only when it is told to.
type court struct {
	*testing.T
	*Bans
	store *kv.Memory
	now   time.Time
}

func newCourt(t *testing.T) *court {
	c := &court{T: t, store: &kv.Memory{}, now: time.Unix(1_000_000, 0)}
	c.reopen()
	return c
}

func (c *court) reopen() {
	c.Helper()
	var err error
	if c.Bans, err = OpenBans(c.store, func() time.Time { return c.now }); err != nil {
		c.Fatal(err)
	}
}

func (c *court) blame(p peer.ID, points float64) bool {
	c.Helper()
	barred, err := c.Blame(p, points, "it lied")
	if err != nil {
		c.Fatal(err)
	}
	return barred
}

// TestABanComesAndGoes: offences add up, time forgives, and a ban lasts for a
// half-life at least.
func TestABanComesAndGoes(t *testing.T) {
	c := newCourt(t)
	for i := range 9 {
		if c.blame("p", PointsProtocol) || c.Barred("p") {
			t.Fatalf("barred after %d offences", i+1)
		}
	}
	if !c.blame("p", PointsProtocol) || !c.Barred("p") || c.Barred("q") {
		t.Fatal("ten offences at once bar nobody, or everybody")
	}
	if list := c.List(); len(list) != 1 || list[0].Peer != "p" || list[0].Why != "it lied" || !list[0].Until.Equal(c.now.Add(HalfLife)) {
		t.Errorf("%+v", list)
	}
	c.now = c.now.Add(HalfLife - time.Second)
	if !c.Barred("p") {
		t.Error("the ban ends early")
	}
	c.now = c.now.Add(2 * time.Second)
	if c.Barred("p") || len(c.List()) != 0 {
		t.Error("the ban does not end")
	}
	if !c.blame("p", PointsForgery+PointsForgery+1) {
		t.Error("who comes back from a ban has a new start")
	}
}

// TestRareOffencesBarNobody: an honest peer on a bad line makes one now and then.
func TestRareOffencesBarNobody(t *testing.T) {
	c := newCourt(t)
	for range 1000 {
		if c.blame("p", PointsProtocol) {
			t.Fatal("barred")
		}
		c.now = c.now.Add(3 * time.Minute)
	}
}

// TestARestartPardonsNobody who is barred, and everybody who is not.
func TestARestartPardonsNobody(t *testing.T) {
	c := newCourt(t)
	c.blame("bad", BanAt)
	c.blame("clumsy", BanAt-1)
	c.reopen()
	if !c.Barred("bad") || c.Barred("clumsy") || len(c.List()) != 1 {
		t.Errorf("%+v", c.List())
	}
	c.now = c.now.Add(-time.Hour) // a clock that is set back lengthens nothing for ever
	if !c.Barred("bad") {
		t.Error("a clock that is set back pardons")
	}
	c.now = c.now.Add(time.Hour + 2*HalfLife)
	if c.Barred("bad") {
		t.Error("the ban does not end")
	}
	c.reopen()
	if len(c.List()) != 0 {
		t.Error("a ban that is over comes back")
	}
}

func TestNoBanLastsForEver(t *testing.T) {
	c := newCourt(t)
	for range 100_000 {
		c.blame("p", PointsForgery)
	}
	if got := c.List()[0].Until.Sub(c.now); got > 7*HalfLife {
		t.Errorf("it lasts %s", got)
	}
}

// TestPointsAreBounded: a crowd of peers pushes out nobody who is barred.
func TestPointsAreBounded(t *testing.T) {
	c := newCourt(t)
	c.blame("bad", BanAt)
	for i := range 2 * maxBans {
		c.blame(peer.ID(fmt.Sprint(i)), 5)
	}
	if len(c.scores) > maxBans || !c.Barred("bad") {
		t.Errorf("%d scores, barred %v", len(c.scores), c.Barred("bad"))
	}
	if _, err := c.Blame("long", 1, strings.Repeat("x", 1000)); err != nil || len(c.scores["long"].why) > maxWhy {
		t.Errorf("%v", err)
	}
}

func TestDamagedBansAreSaid(t *testing.T) {
	for _, value := range [][]byte{nil, make([]byte, 15), append([]byte{0x7f, 0xf8}, make([]byte, 14)...)} {
		var store kv.Memory
		if err := store.Apply([]kv.Op{{Key: banKey("p"), Value: value}}); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenBans(&store, time.Now); err == nil {
			t.Errorf("%x is taken", value)
		}
	}
}

func TestBlamesMeet(t *testing.T) {
	c := newCourt(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				c.Blame(peer.ID(fmt.Sprint(i%2)), 1, "again")
				c.Barred("0")
				c.List()
			}
		})
	}
	wg.Wait()
	if !c.Barred("0") || !c.Barred("1") {
		t.Error("offences were lost")
	}
}

package revocation

import (
	"testing"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/kv"
	"cerebrum.dev/cerebrum/acl/trust/trusttest"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// One log's word bars nothing, two logs' words do, and each step wakes who watches.
func TestBarredAndWatched(t *testing.T) {
	w := newTown(t, 4)
	owner := trusttest.NewPerson(t, "owner", identity.User)
	e := erasure(t, w.net, owner, 1)
	b, _, err := e.VerifyErasure(w.net.Network())
	if err != nil {
		t.Fatal(err)
	}
	key := b.KeyIDs()[0]
	set := openSet(t, &kv.Memory{}, w.net)
	first := set.Watch()
	if closed(first) || set.Barred(key) {
		t.Fatal("a set that knows nothing says something")
	}
	moves := set.Moves()
	if err := set.Heard(w.net.Validators[0].Signing, []Entry{e}); err != nil {
		t.Fatal(err)
	}
	if !set.Erased(key) || set.Barred(key) || !closed(first) || set.Moves() == moves {
		t.Errorf("after one log: known %v, barred %v, woken %v", set.Erased(key), set.Barred(key), closed(first))
	}
	second := set.Watch()
	moves = set.Moves()
	if err := set.Heard(w.net.Validators[0].Signing, []Entry{e}); err != nil { // the same log again
		t.Fatal(err)
	}
	if set.Barred(key) || closed(second) {
		t.Error("one log counts twice")
	}
	if err := set.Heard(w.net.Validators[1].Signing, []Entry{e}); err != nil {
		t.Fatal(err)
	}
	if !set.Barred(key) || !closed(second) || set.Moves() == moves {
		t.Errorf("after two logs: barred %v, woken %v", set.Barred(key), closed(second))
	}
	if f := set.OfKind(KindErasure); len(f) != 1 || len(set.OfKind(KindHold)) != 0 {
		t.Errorf("%d erasures", len(f))
	}
	own := openSet(t, &kv.Memory{}, w.net) // what a party itself stands for
	if _, err := own.Add(e); err != nil || !own.Barred(key) {
		t.Errorf("its own order does not bar: %v", err)
	}
}

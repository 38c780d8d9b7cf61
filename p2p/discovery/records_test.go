package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-base32"
)

func recordKey(key, member string) datastore.Key {
	return datastore.NewKey("/providers/" + key + "/" + member)
}

func anybody(peer.ID) bool { return true }

func keysUnder(t *testing.T, r *records, prefix string) []string {
	t.Helper()
	results, err := r.Query(context.Background(), query.Query{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	all, err := results.Rest()
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range all {
		keys = append(keys, e.Key)
	}
	slices.Sort(keys)
	return keys
}

func TestRecordsArePutFoundAndDeleted(t *testing.T) {
	ctx, r := context.Background(), newRecords("self", anybody, 10, 100)
	for _, k := range []datastore.Key{recordKey("K1", "A"), recordKey("K1", "B"), recordKey("K12", "A")} {
		if err := r.Put(ctx, k, []byte(k.String())); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(keysUnder(t, r, "/providers/K1")); got != "[/providers/K1/A /providers/K1/B]" {
		t.Errorf("the records of one key: %s", got)
	}
	if got := len(keysUnder(t, r, "/providers/")); got != 3 {
		t.Errorf("%d records in all, want 3", got)
	}
	if got := len(keysUnder(t, r, "")); got != 3 {
		t.Errorf("%d records without a prefix, want 3", got)
	}
	value, err := r.Get(ctx, recordKey("K1", "B"))
	if err != nil || string(value) != "/providers/K1/B" {
		t.Errorf("value %q, error %v", value, err)
	}
	value[0] = 'x'
	if again, _ := r.Get(ctx, recordKey("K1", "B")); again[0] != '/' {
		t.Error("a reader changed the record")
	}
	if n, err := r.GetSize(ctx, recordKey("K1", "B")); n != 15 || err != nil {
		t.Errorf("size %d, error %v", n, err)
	}
	for range 2 { // the second time there is nothing to delete
		if err := r.Delete(ctx, recordKey("K1", "B")); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := r.Has(ctx, recordKey("K1", "B")); ok || err != nil {
		t.Errorf("a deleted record: %v, error %v", ok, err)
	}
	if _, err := r.Get(ctx, recordKey("K1", "B")); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("error is %v, want ErrNotFound", err)
	}
	r.Delete(ctx, recordKey("K1", "A"))
	r.Delete(ctx, recordKey("K12", "A"))
	if len(r.groups) != 0 || len(r.owned) != 0 || r.total != 0 {
		t.Errorf("something is left: %v, %v, %d", r.groups, r.owned, r.total)
	}
}

// A member that floods keeps its share and takes nobody else's.
func TestFloodsAreBounded(t *testing.T) {
	ctx := context.Background()
	self := peer.ID("self")
	r := newRecords(self, anybody, 3, 8)
	me := base32.RawStdEncoding.EncodeToString([]byte(self))
	flood := func(member string, n int) {
		batch, err := r.Batch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			batch.Put(ctx, recordKey(fmt.Sprint(member, i), member), []byte{1})
		}
		if err := batch.Commit(ctx); err != nil {
			t.Errorf("a flood fails the batch of others: %v", err)
		}
	}
	flood("FLOODER", 50)
	if got := r.owned["FLOODER"]; got != 3 {
		t.Errorf("a flooder has %d records, want 3", got)
	}
	r.Put(ctx, recordKey("K", "HONEST"), []byte{1})
	if got := r.owned["HONEST"]; got != 1 {
		t.Error("an honest member's record was lost")
	}
	flood(me, 50)
	if got := r.owned[me]; got != 4 {
		t.Errorf("we have %d records of our own, want what is left of 8 in all: 4", got)
	}
	if err := r.Put(ctx, recordKey("K", "HONEST"), []byte{2}); err != nil || r.total != 8 {
		t.Errorf("renewing a record: error %v, %d in all", err, r.total)
	}
	if v, _ := r.Get(ctx, recordKey("K", "HONEST")); len(v) != 1 || v[0] != 2 {
		t.Error("a full store does not renew what it has")
	}
	r.Delete(ctx, recordKey("FLOODER0", "FLOODER"))
	flood("FLOODER", 50)
	if got := r.total; got > 8 {
		t.Errorf("%d records in all, want at most 8", got)
	}
}

func BenchmarkProvidersOfOneKeyAmongMany(b *testing.B) {
	ctx, r := context.Background(), newRecords("self", anybody, 1<<20, 1<<20)
	for i := range 100_000 {
		r.Put(ctx, recordKey(fmt.Sprint("K", i), "A"), make([]byte, 9))
	}
	for b.Loop() {
		results, err := r.Query(ctx, query.Query{Prefix: "/providers/K77"})
		if err != nil {
			b.Fatal(err)
		}
		if all, _ := results.Rest(); len(all) != 1 {
			b.Fatal(all)
		}
	}
}

// TestForgettingAMember leaves others' records, and takes no late ones.
func TestForgettingAMember(t *testing.T) {
	gone := false
	name := base32.RawStdEncoding.EncodeToString([]byte("member"))
	ctx, r := context.Background(), newRecords("self", func(p peer.ID) bool { return p != "member" || !gone }, 10, 100)
	for _, k := range []datastore.Key{recordKey("K1", name), recordKey("K2", name), recordKey("K2", "B")} {
		if err := r.Put(ctx, k, nil); err != nil {
			t.Fatal(err)
		}
	}
	gone = true
	r.forget("member")
	r.forget("nobody")
	if err := r.Put(ctx, recordKey("K3", name), nil); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(keysUnder(t, r, "")); got != "[/providers/K2/B]" || r.total != 1 || len(r.groups) != 1 || r.owned[name] != 0 {
		t.Errorf("%s, %d in all", got, r.total)
	}
}

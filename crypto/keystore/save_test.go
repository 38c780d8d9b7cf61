package keystore

import (
	"errors"
	"reflect"
	"sync"
	"testing"
)

func TestSaveKeepsTheProtectionAndSurvivesReopening(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), quick("pass")); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, says("pass"))
	if err != nil {
		t.Fatal(err)
	}
	want := fullContents(t)
	if err := s.Save(want); err != nil {
		t.Fatal(err)
	}
	want.Peer[0] ^= 1 // the store kept a copy, not the caller's memory
	if reflect.DeepEqual(s.Contents(), want) {
		t.Fatal("the store shares memory with its caller")
	}
	want.Peer[0] ^= 1
	s.Contents().Peer[0] ^= 1
	again, err := Open(dir, says("pass"))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*Contents{s.Contents(), again.Contents()} {
		if !reflect.DeepEqual(got, want) {
			t.Fatal("the saved keys did not come back")
		}
	}
	if again.protection.WorkFactor != MinWorkFactor {
		t.Fatalf("work factor became %d", again.protection.WorkFactor)
	}
}

func TestTwoStoresDoNotUndoEachOther(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	a, _ := Open(dir, nil)
	b, _ := Open(dir, nil)
	if err := a.Save(fullContents(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Save(NewContents()); !errors.Is(err, ErrChanged) {
		t.Fatalf("saving over somebody's keys: %v, want ErrChanged", err)
	}
	if err := a.Save(fullContents(t)); err != nil { // control: its own last save is no change
		t.Fatal(err)
	}
}

func TestConcurrentSavesLeaveOneOfThem(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := s.Save(NewContents()); err != nil {
				t.Errorf("save: %v", err)
			}
			s.Contents()
		})
	}
	wg.Wait()
	again, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again.Contents(), s.Contents()) {
		t.Fatal("memory and disk disagree")
	}
}

func TestAfterAFailedWriteNothingIsWrittenUntilReopened(t *testing.T) {
	dir := home(t)
	if err := Create(dir, NewContents(), Protection{Plain: true}); err != nil {
		t.Fatal(err)
	}
	s, _ := Open(dir, nil)
	before := s.Contents()
	good, broken := s.replace, errors.New("no space left")
	s.replace = func(string, []byte) error { return broken }
	if err := s.Save(NewContents()); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
		t.Fatalf("save on a failing disk: %v", err)
	}
	s.replace = good
	if err := s.Save(NewContents()); !errors.Is(err, ErrFailed) {
		t.Fatalf("save after a failure: %v, want ErrFailed", err)
	}
	if !reflect.DeepEqual(s.Contents(), before) {
		t.Fatal("keys that were not saved are shown as if they were")
	}
	again, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Save(NewContents()); err != nil {
		t.Fatalf("after reopening: %v", err)
	}
}

package keystore

import (
	"bytes"
	"errors"
	"testing"
)

// Arbitrary bytes in place of the slot file must neither crash the store nor
// open anything.
func FuzzSlotFile(f *testing.F) {
	mem := &faulty{}
	e, err := openErasable(mem, testMaster)
	if err != nil {
		f.Fatal(err)
	}
	items := someItems(2)
	sealed := seal(f, e, items)
	whole := bytes.Clone(mem.data[:slotOffset(2)])
	f.Add(whole, uint16(0), byte(0))
	f.Add(whole, uint16(headerSize+60), byte(1))
	f.Add(whole[:headerSize], uint16(30), byte(8))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, content []byte, at uint16, flip byte) {
		content = bytes.Clone(content)
		if int(at) < len(content) {
			content[at] ^= flip
		}
		e, err := openErasable(&faulty{data: content}, testMaster)
		if err != nil {
			return
		}
		for i, s := range sealed {
			got, err := e.Open(s, items[i].AAD)
			if err == nil && !bytes.Equal(got, items[i].Secret) {
				t.Fatal("another secret came out")
			}
			if err != nil && !errors.Is(err, ErrErased) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("an error of no kind: %v", err)
			}
		}
	})
}

func BenchmarkSealMany1000(b *testing.B) {
	e := openAt(b, slotPath(b))
	items := someItems(1000)
	for b.Loop() {
		if _, err := e.SealMany(items); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealOneParallel(b *testing.B) {
	e := openAt(b, slotPath(b))
	items := someItems(1)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := e.SealMany(items)
			if err != nil {
				b.Fatal(err)
			}
			if err := e.Destroy(s[0].Slot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSealOne(b *testing.B) {
	e := openAt(b, slotPath(b))
	items := someItems(1)
	for b.Loop() {
		s, err := e.SealMany(items)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		e.Destroy(s[0].Slot)
		b.StartTimer()
	}
}

func BenchmarkErasableOpen(b *testing.B) {
	e := openAt(b, slotPath(b))
	items := someItems(1)
	s := seal(b, e, items)[0]
	for b.Loop() {
		if _, err := e.Open(s, items[0].AAD); err != nil {
			b.Fatal(err)
		}
	}
}

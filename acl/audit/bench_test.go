package audit

import (
	"fmt"
	"path/filepath"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log"))
	run(b, l)
	e := event(1)
	for b.Loop() {
		if err := l.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	for _, callers := range []int{64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := openLog(b, filepath.Join(b.TempDir(), "log"))
			run(b, l)
			e := event(1)
			b.SetParallelism(callers / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Append(b.Context(), e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkAppend1000AtOnce(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log"))
	run(b, l)
	batch := events(0, 1000)
	for b.Loop() {
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify100k(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "log")
	l := openLog(b, dir)
	stop := run(b, l)
	batch := events(0, 1000)
	for range 100 {
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	stop()
	for b.Loop() {
		if n, _, err := Verify(dir); err != nil || n != 100_000 {
			b.Fatal(n, err)
		}
	}
}

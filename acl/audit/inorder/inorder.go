// Package inorder spreads the work on a sequence over the processors and hands on what
// comes of it in the order of the sequence. Logs are read with it: their records can be
// opened independently, but whoever reads them wants them one after the other, and
// wants to hear of the first one that is wrong.
//
//	err := inorder.Do(read, open, show)
package inorder

import (
	"errors"
	"runtime"
)

// Do runs produce, which hands out items until hand gives an error, and must then
// return it; work on each item, on several at once; and use on each item after that,
// in the order in which they were handed out. Few items are under way at a time, so
// memory is bounded by what they hold. produce runs in a goroutine of its own, use in
// the caller's; all have ended when Do returns.
//
// The error is that of the first item which use refuses, whatever became of those
// behind it; otherwise it is produce's.
func Do[T any](produce func(hand func(T) error) error, work func(T), use func(T) error) error {
	type task struct {
		item T
		done chan struct{}
	}
	tasks, stop := make(chan task, runtime.GOMAXPROCS(0)), make(chan struct{})
	var produced error
	go func() {
		defer close(tasks)
		produced = produce(func(item T) error {
			t := task{item, make(chan struct{})}
			select {
			case <-stop:
				return errStopped
			default:
			}
			select {
			case tasks <- t:
			case <-stop:
				return errStopped
			}
			go func() {
				defer close(t.done)
				work(item)
			}()
			return nil
		})
	}()
	var refused error
	for t := range tasks {
		<-t.done
		if refused != nil {
			continue
		}
		if refused = use(t.item); refused != nil {
			close(stop)
		}
	}
	if refused != nil {
		return refused
	}
	return produced
}

// errStopped is what hand gives when nobody wants more.
var errStopped = errors.New("nobody wants more")

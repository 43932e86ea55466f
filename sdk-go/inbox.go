package polypeer

import (
	"context"
	"sync"
)

// inbox is a bounded queue between the goroutine that reads a session, which never waits, and any number of readers.
type inbox[T any] struct {
	limit int

	mu      sync.Mutex
	items   []T
	dropped uint64
	err     error         // why there will be no more items
	wake    chan struct{} // holds a token while there is something to look at
	ended   chan struct{} // closed with err
}

func newInbox[T any](limit int) *inbox[T] {
	return &inbox[T]{limit: limit, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// add queues an item; when there is no room the oldest goes, is counted and comes back.
func (b *inbox[T]) add(item T) (lost T, full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return item, true
	}
	if full = len(b.items) >= b.limit; full {
		lost, b.items = b.items[0], b.items[1:]
		b.dropped++
	}
	b.items = append(b.items, item)
	b.signal()
	return lost, full
}

func (b *inbox[T]) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// try is the item that waited longest, or why there will be none.
func (b *inbox[T]) try() (item T, ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items) == 0 {
		return item, false, b.err
	}
	item, b.items = b.items[0], b.items[1:]
	if len(b.items) > 0 {
		b.signal() // for another reader
	}
	return item, true, nil
}

// take waits for an item. What was queued before the end is still given out.
func (b *inbox[T]) take(ctx context.Context) (T, error) {
	for {
		item, ok, err := b.try()
		if ok || err != nil {
			return item, err
		}
		select {
		case <-b.wake:
		case <-b.ended:
		case <-ctx.Done():
			return item, ctx.Err()
		}
	}
}

// fail ends the inbox; the first reason stays.
func (b *inbox[T]) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
		close(b.ended)
	}
}

func (b *inbox[T]) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *inbox[T]) lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

package polypeer

import (
	"context"
	"sync"
)

// inbox is a bounded queue between the goroutine that reads a session, which never waits, and any number of consumers.
type inbox[T any] struct {
	limit int

	mu      sync.Mutex
	items   []T
	dropped uint64
	err     error         // why there are no more items
	wake    chan struct{} // holds a token while there may be an item
	ended   chan struct{} // closed with err
}

func newInbox[T any](limit int) *inbox[T] {
	return &inbox[T]{limit: limit, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// add queues an item; when full it drops, counts and returns the oldest.
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

// try is the oldest item, or why there are no more.
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

// take waits for an item. Items queued before the end are still returned.
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

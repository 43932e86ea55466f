package polypeer

import (
	"context"
	"sync"
)

// watchQueue bounds the queued events. Beyond, one event reports the loss.
const watchQueue = 64

// watcher is one reader of events.
type watcher[E any] struct {
	mu     sync.Mutex
	events chan E // the last place is reserved for lost
	lost   E      // reports that events were lost
	ended  bool
}

// watch adds a watcher to a set and turns the events on; it ends with ctx. The set belongs to n and is guarded by n.mu,
// which watch holds while it calls now for the events that a watcher begins with.
func watch[E any](n *Node, ctx context.Context, set map[*watcher[E]]struct{}, lost E, now func() []E, on func(context.Context) error) (<-chan E, error) {
	w := &watcher[E]{events: make(chan E, watchQueue+1), lost: lost}
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return nil, n.err
	}
	set[w] = struct{}{}
	for _, event := range now() {
		w.add(event)
	}
	n.mu.Unlock()
	if err := on(ctx); err != nil {
		unwatch(n, set, w)
		return nil, err
	}
	context.AfterFunc(ctx, func() { unwatch(n, set, w) })
	return w.events, nil
}

// unwatch ends a watcher. Netcore continues to send events until the session ends; turning them off could race with
// another watcher that turns them on.
func unwatch[E any](n *Node, set map[*watcher[E]]struct{}, w *watcher[E]) {
	n.mu.Lock()
	delete(set, w)
	n.mu.Unlock()
	w.end()
}

// tell sends an event to every watcher of a set.
func tell[E any](n *Node, set map[*watcher[E]]struct{}, event E) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range set {
		w.add(event)
	}
}

// missed reports lost events to every watcher. The node's mu is held.
func missed[E any](set map[*watcher[E]]struct{}) {
	for w := range set {
		w.add(w.lost)
	}
}

// endAll ends every watcher. The node's mu is held.
func endAll[E any](set map[*watcher[E]]struct{}) {
	for w := range set {
		w.end()
		delete(set, w)
	}
}

// add queues an event, or reports at the last place that some were lost.
func (w *watcher[E]) add(event E) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch waiting := len(w.events); {
	case w.ended || waiting > watchQueue:
	case waiting == watchQueue:
		w.events <- w.lost
	default:
		w.events <- event
	}
}

func (w *watcher[E]) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.events)
	}
}

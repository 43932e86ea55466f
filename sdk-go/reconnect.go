package polypeer

import (
	"context"
	"errors"
	"net"
	"time"
)

// run replaces the session whenever it ends, until the node is closed or a permanent failure.
func (n *Node) run(s *session) {
	defer close(n.done)
	var delays backoff
	for {
		start := time.Now()
		stop := context.AfterFunc(n.ctx, func() { s.end(net.ErrClosed) })
		err := s.serve(func(event msgEvent) error { return n.handle(s, event) })
		stop()
		delays.stood(time.Since(start))
		n.detach(s)
		if n.ctx.Err() != nil {
			n.fail(net.ErrClosed)
			return
		}
		for s = nil; s == nil; {
			if errors.Is(err, ErrShuttingDown) { // this plugin is being stopped
				n.fail(net.ErrClosed)
				return
			}
			if final(err) {
				n.fail(err)
				return
			}
			if !sleep(n.ctx, delays.wait()) {
				n.fail(net.ErrClosed)
				return
			}
			s, err = n.reconnect()
		}
	}
}

func (n *Node) reconnect() (*session, error) {
	ctx, cancel, _ := withDeadline(n.ctx)
	defer cancel()
	conn, welcome, err := n.gateway.hello(ctx)
	if err != nil {
		return nil, err
	}
	s := newSession(conn, welcome)
	n.mu.Lock()
	n.session, n.grants = s, grantsOf(welcome.grants)
	n.change()
	n.mu.Unlock()
	go n.restore(s)
	return s, nil
}

// final reports whether reconnecting is pointless: another process took over, or this launch has ended.
func final(err error) bool {
	return errors.Is(err, ErrSuperseded) || errors.Is(err, ErrUnauthorised) || errors.Is(err, ErrUnsupportedVersion)
}

func (n *Node) detach(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.session == s {
		n.session = nil
		n.change()
	}
	if n.ctx.Err() == nil {
		missed(n.watchers)
		missed(n.networkWatchers)
	}
}

// change wakes those who wait for a session. n.mu is held.
func (n *Node) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// current is the session; it waits for one while netcore restarts.
func (n *Node) current(ctx context.Context) (*session, error) {
	for {
		n.mu.Lock()
		s, changed, err := n.session, n.changed, n.err
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if s != nil && s.ctx.Err() == nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, contextError(ctx)
		}
	}
}

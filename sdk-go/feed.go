package polypeer

import (
	"context"
	"errors"
)

// feedKey names what a plugin receives until it stops: a node has one feed for each.
type feedKey struct {
	datagrams bool // of a protocol; otherwise the messages of a topic
	name      string
}

// covered reports whether the grants allow it.
func (k feedKey) covered(g Grants) bool {
	patterns := g.Topics
	if k.datagrams {
		patterns = g.Serve
	}
	return allowsAny(patterns, k.name)
}

// allowsAny reports whether one of a grant's patterns covers a name.
func allowsAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if allows(pattern, name) {
			return true
		}
	}
	return false
}

func (k feedKey) String() string {
	if k.datagrams {
		return "the datagrams of " + k.name
	}
	return "the topic " + k.name
}

// feed is a [Subscription] or a [PacketConn]: asked for again in every session until it ends.
type feed interface {
	begin() msgRequest
	end() msgRequest
	fail(error)
}

// follow adds a feed, and asks netcore for it.
func (n *Node) follow(ctx context.Context, key feedKey, f feed) error {
	ctx, cancel, _ := patience(ctx)
	defer cancel()
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return n.err
	}
	if n.feeds[key] != nil {
		defer n.mu.Unlock()
		return &Error{Code: CodeAlreadyServed, Message: "this plugin receives " + key.String() + " already"}
	}
	n.feeds[key] = f
	n.mu.Unlock()
	err := n.sync(ctx, key, f)
	if err != nil {
		n.unfollow(key, f)
	}
	return err
}

// unfollow takes a feed away, and tells netcore.
func (n *Node) unfollow(key feedKey, f feed) {
	n.mu.Lock()
	mine := n.feeds[key] == f
	if mine {
		delete(n.feeds, key)
	}
	s := n.session
	n.mu.Unlock()
	if !mine || s == nil {
		return // a new session starts with what is followed then
	}
	ctx, cancel := context.WithTimeout(n.ctx, closeTime)
	defer cancel()
	_ = n.sync(ctx, key, f)
}

// sync tells netcore whether a feed is wanted now. A session that ends meanwhile is followed to the next.
func (n *Node) sync(ctx context.Context, key feedKey, f feed) error {
	for {
		s, err := n.current(ctx)
		if err != nil {
			return err
		}
		err = n.syncOn(ctx, s, key, f)
		if err == nil || s.ctx.Err() == nil || ctx.Err() != nil {
			return err
		}
	}
}

// syncOn does it on one session. One at a time, so that what is said last is what holds.
func (n *Node) syncOn(ctx context.Context, s *session, key feedKey, f feed) error {
	select {
	case n.announcing <- struct{}{}:
		defer func() { <-n.announcing }()
	case <-ctx.Done():
		return why(ctx)
	case <-s.ctx.Done():
		return s.ended()
	}
	n.mu.Lock()
	request := f.end()
	if wanted := n.feeds[key]; wanted != nil {
		request = wanted.begin()
	}
	n.mu.Unlock()
	_, err := s.ask(ctx, request)
	return err
}

// restoreFeed asks for one again. What cannot be any more ends, with the reason; a passing problem is tried again as
// long as the session stands.
func (n *Node) restoreFeed(s *session, key feedKey, f feed) {
	var delays backoff
	for sleep(s.ctx, delays.wait()) {
		ctx, cancel := context.WithTimeout(s.ctx, defaultTimeout)
		err := n.syncOn(ctx, s, key, f)
		cancel()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if !passing(err) {
			n.mu.Lock()
			if n.feeds[key] == f {
				delete(n.feeds, key)
			}
			n.mu.Unlock()
			f.fail(err)
			return
		}
	}
}

// passing reports whether a failure of netcore's may be gone when asked again.
func passing(err error) bool {
	for _, each := range []error{ErrBusy, ErrInternal, ErrTimedOut, context.DeadlineExceeded} {
		if errors.Is(err, each) {
			return true
		}
	}
	return false
}

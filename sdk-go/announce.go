package polypeer

import (
	"context"
	"errors"
)

// said is what netcore is to know of one thing that the plugin serves or receives, as it is when it is asked for; called
// with the node's lock held.
type said func() msgRequest

// announce tells netcore what holds now. A session that ends meanwhile is followed to the next.
func (n *Node) announce(ctx context.Context, now said) error {
	for {
		s, err := n.current(ctx)
		if err != nil {
			return err
		}
		err = n.announceOn(ctx, s, now)
		if err == nil || s.ctx.Err() == nil || ctx.Err() != nil {
			return err
		}
	}
}

// announceOn does it on one session. One at a time, so that what is said last is what holds.
func (n *Node) announceOn(ctx context.Context, s *session, now said) error {
	select {
	case n.announcing <- struct{}{}:
		defer func() { <-n.announcing }()
	case <-ctx.Done():
		return why(ctx)
	case <-s.ctx.Done():
		return s.ended()
	}
	n.mu.Lock()
	request := now()
	n.mu.Unlock()
	_, err := s.ask(ctx, request)
	return err
}

// announceAgain does it on a new session. What cannot be any more is dropped, with the reason; a passing problem is tried
// again as long as the session stands.
func (n *Node) announceAgain(s *session, now said, drop func(error)) {
	var delays backoff
	for sleep(s.ctx, delays.wait()) {
		ctx, cancel := context.WithTimeout(s.ctx, defaultTimeout)
		err := n.announceOn(ctx, s, now)
		cancel()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if !passing(err) {
			drop(err)
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

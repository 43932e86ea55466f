package polypeer

import (
	"context"
	"errors"
)

// wanted is the request for the current state of one thing that the plugin serves or receives. It is called with the
// node's lock held.
type wanted func() msgRequest

// announce sends the current state to netcore, and again when the session ends meanwhile.
func (n *Node) announce(ctx context.Context, now wanted) error {
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

// announceEnd tells netcore that something is no longer served or received. Without a session there is nothing to send:
// a new one starts with what is wanted then.
func (n *Node) announceEnd(now wanted) {
	n.mu.Lock()
	s := n.session
	n.mu.Unlock()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, closeTime)
	defer cancel()
	_ = n.announce(ctx, now)
}

// announceOn sends the current state on one session. Calls take turns, so that the last state sent is the current one.
func (n *Node) announceOn(ctx context.Context, s *session, now wanted) error {
	select {
	case n.announcing <- struct{}{}:
		defer func() { <-n.announcing }()
	case <-ctx.Done():
		return contextError(ctx)
	case <-s.ctx.Done():
		return s.ended()
	}
	n.mu.Lock()
	request := now()
	n.mu.Unlock()
	_, err := s.ask(ctx, request)
	return err
}

// announceAgain restores one thing on a new session. After a permanent failure it calls giveUp; after a temporary one
// it retries for as long as the session lasts.
func (n *Node) announceAgain(s *session, now wanted, giveUp func(error)) {
	var delays backoff
	for sleep(s.ctx, delays.wait()) {
		ctx, cancel := context.WithTimeout(s.ctx, defaultTimeout)
		err := n.announceOn(ctx, s, now)
		cancel()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if !passing(err) {
			giveUp(err)
			return
		}
	}
}

// passing reports whether netcore's failure is temporary.
func passing(err error) bool {
	for _, each := range []error{ErrBusy, ErrInternal, ErrTimedOut, context.DeadlineExceeded} {
		if errors.Is(err, each) {
			return true
		}
	}
	return false
}

// restore registers everything on a new session, each on its own: one that netcore is too busy for delays no other.
func (n *Node) restore(s *session) {
	n.mu.Lock()
	keys := make([]listenKey, 0, len(n.listening))
	for key := range n.listening {
		keys = append(keys, key)
	}
	feeds := make(map[feedKey]feed, len(n.feeds))
	for key, f := range n.feeds {
		feeds[key] = f
	}
	watching, networkWatching := len(n.watchers) > 0, len(n.networkWatchers) > 0
	if !watching {
		clear(n.up) // nobody keeps it up to date
	}
	n.mu.Unlock()
	if watching {
		_ = n.syncPeers(s.ctx, s) // fails only with the session
	}
	if networkWatching {
		_, _ = s.ask(s.ctx, msgRequestWatchNetwork{true})
	}
	// As many goroutines as netcore accepted registrations before; they end with the session.
	for _, key := range keys {
		go n.announceAgain(s, n.listenerWanted(key), func(err error) { n.giveUpListener(key, err) })
	}
	for key, f := range feeds {
		go n.announceAgain(s, n.feedWanted(key, f), func(err error) { n.giveUpFeed(key, f, err) })
	}
}

package polypeer

import "context"

// listenKey names a listener: a node has one for each protocol and scope.
type listenKey struct {
	protocol string
	scope    msgScope
}

// registration is what serves a protocol: a listener for streams, a service for calls, or both.
type registration struct {
	listener *Listener
	service  *Service
}

// calls is how netcore should deliver calls: as events when somebody handles them, as streams otherwise.
func (r *registration) calls() msgCallMode {
	if r.service != nil {
		return msgCallModeEvents
	}
	return msgCallModeStreams
}

func (r *registration) fail(err error) {
	if r.listener != nil {
		r.listener.fail(err)
	}
	if r.service != nil {
		r.service.fail(err)
	}
}

// register adds what serves a protocol, and tells netcore. `put` puts it into the registration, and says whether the
// place was free; `undo` takes it out again.
func (n *Node) register(ctx context.Context, key listenKey, put func(*registration) bool, undo func(*registration)) error {
	ctx, cancel, _ := patience(ctx)
	defer cancel()
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return n.err
	}
	r := n.listening[key]
	if r == nil {
		r = &registration{}
		n.listening[key] = r
	}
	if !put(r) {
		defer n.mu.Unlock()
		return &Error{Code: CodeAlreadyServed, Message: key.protocol + " is already served by this plugin"}
	}
	n.mu.Unlock()
	err := n.announce(ctx, n.served(key))
	if err != nil {
		n.unregister(key, func(r *registration) bool { undo(r); return true })
	}
	return err
}

// served is what netcore is to know of how a protocol is served.
func (n *Node) served(key listenKey) said {
	return func() msgRequest {
		if r := n.listening[key]; r != nil {
			return msgRequestListen{key.protocol, key.scope, r.calls()}
		}
		return msgRequestUnlisten{key.protocol, key.scope}
	}
}

// unregister takes something out of a registration, as `take` does it, and tells netcore what is left.
func (n *Node) unregister(key listenKey, take func(*registration) bool) {
	n.mu.Lock()
	r := n.listening[key]
	if r == nil || !take(r) {
		n.mu.Unlock()
		return
	}
	if r.listener == nil && r.service == nil {
		delete(n.listening, key)
	}
	s := n.session
	n.mu.Unlock()
	if s == nil {
		return // a new session starts with what is registered then
	}
	ctx, cancel := context.WithTimeout(n.ctx, closeTime)
	defer cancel()
	_ = n.announce(ctx, n.served(key))
}

// restore registers everything on a new session. Each on its own: one that netcore is too busy for holds nothing else up.
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
	n.mu.Unlock()
	if watching {
		_, _ = s.ask(s.ctx, msgRequestWatchPeers{true}) // fails only with the session
	}
	if networkWatching {
		_, _ = s.ask(s.ctx, msgRequestWatchNetwork{true})
	}
	// As many as netcore granted before; they end with the session.
	for _, key := range keys {
		go n.announceAgain(s, n.served(key), func(err error) { n.drop(key, err) })
	}
	for key, f := range feeds {
		go n.announceAgain(s, n.wanted(key, f), func(err error) { n.dropFeed(key, f, err) })
	}
}

// drop ends what served a protocol.
func (n *Node) drop(key listenKey, err error) {
	n.mu.Lock()
	r := n.listening[key]
	delete(n.listening, key)
	n.mu.Unlock()
	if r != nil {
		r.fail(err)
	}
}

// granted takes new grants, and ends what they do not cover any more, as netcore did.
func (n *Node) granted(grants Grants) {
	n.mu.Lock()
	n.grants = grants
	var ended []*registration
	for key, r := range n.listening {
		if !grants.covers(key) {
			ended = append(ended, r)
			delete(n.listening, key)
		}
	}
	var feeds []feed
	for key, f := range n.feeds {
		if !key.covered(grants) {
			feeds = append(feeds, f)
			delete(n.feeds, key)
		}
	}
	var provisions []*Provision
	for name, p := range n.provided {
		if !allowsAny(grants.DHT, name) {
			provisions = append(provisions, p)
		}
	}
	n.mu.Unlock()
	withdrawn := &Error{Code: CodeNotGranted, Message: "the operator changed the grants"}
	for _, r := range ended {
		r.fail(withdrawn)
	}
	for _, f := range feeds {
		f.fail(withdrawn)
	}
	for _, p := range provisions {
		go p.stop(withdrawn) // it tells netcore, and this is the goroutine that reads
	}
}

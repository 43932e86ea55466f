package polypeer

import "context"

// listenKey names a listener: a node has one for each protocol and scope.
type listenKey struct {
	protocol string
	scope    msgScope
}

// registration is a served protocol: a listener for streams, a service for calls, or both.
type registration struct {
	listener *Listener
	service  *Service
}

// calls is how netcore should deliver calls: as events to a service, otherwise as streams.
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

// register adds a listener or service and tells netcore. `put` adds it to the registration and reports whether the
// place was free; `undo` removes it again.
func (n *Node) register(ctx context.Context, key listenKey, put func(*registration) bool, undo func(*registration)) error {
	ctx, cancel, _ := withDeadline(ctx)
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
	err := n.announce(ctx, n.listenerWanted(key))
	if err != nil {
		n.unregister(key, func(r *registration) bool { undo(r); return true })
	}
	return err
}

// listenerWanted is the wanted state of a protocol.
func (n *Node) listenerWanted(key listenKey) wanted {
	return func() msgRequest {
		if r := n.listening[key]; r != nil {
			return msgRequestListen{key.protocol, key.scope, r.calls()}
		}
		return msgRequestUnlisten{key.protocol, key.scope}
	}
}

// unregister removes a listener or service from a registration with `take`, and tells netcore what is left.
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
	n.mu.Unlock()
	n.announceEnd(n.listenerWanted(key))
}

// giveUpListener ends the listener and the service of a protocol.
func (n *Node) giveUpListener(key listenKey, err error) {
	n.mu.Lock()
	r := n.listening[key]
	delete(n.listening, key)
	n.mu.Unlock()
	if r != nil {
		r.fail(err)
	}
}

// onGrantsChanged stores new grants, and ends what they no longer cover, as netcore did.
func (n *Node) onGrantsChanged(grants Grants) {
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
		go p.stop(withdrawn) // it waits for netcore, and this is the reading goroutine
	}
}

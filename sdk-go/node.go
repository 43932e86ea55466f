package polypeer

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Node is this plugin's session with the node it runs on. It is made by [Connect], is safe for use by several
// goroutines, and connects again by itself when the network core restarts: listeners stay, requests and streams
// in flight fail with [ErrConnectionLost].
type Node struct {
	gateway gateway
	id      NodeID
	plugin  string
	skipped atomic.Uint64 // events of later versions

	eventsDropped atomic.Uint64 // by netcore, since this process did not read

	announcing chan struct{} // held while netcore is told what is served

	mu        sync.Mutex
	session   *session      // nil while there is none
	changed   chan struct{} // closed at every change of session
	err       error         // why there will be none any more
	grants    Grants
	listening map[listenKey]*registration
	feeds     map[feedKey]feed
	provided  map[string]*Provision
	watchers  map[*watcher[PeerEvent]]struct{}
	conns     map[*Conn]struct{}

	networkWatchers map[*watcher[NetworkEvent]]struct{}
	networkNow      []NetworkEvent // the reach and the addresses, as they were told last

	idle chan struct{} // closed when the last stream of a closing node is gone

	ctx    context.Context // ends with the node
	cancel context.CancelFunc
	done   chan struct{}
}

// Connect starts the session of the plugin this process is, as POLYPEER_GATEWAY and POLYPEER_TOKEN describe it. ctx
// bounds connecting only (30 s when it has no deadline). In a process that Polypeer did not start it fails with
// [ErrNotAPlugin]. A process that connects a second time replaces its first session, which ends with [ErrSuperseded].
func Connect(ctx context.Context) (*Node, error) {
	gateway, err := gatewayFromEnvironment()
	if err != nil {
		return nil, err
	}
	return connect(ctx, gateway)
}

func connect(ctx context.Context, g gateway) (*Node, error) {
	ctx, cancel, _ := patience(ctx)
	defer cancel()
	var delays backoff
	for {
		conn, welcome, err := g.hello(ctx)
		if err == nil {
			return newNode(g, conn, welcome), nil
		}
		if ctx.Err() != nil {
			return nil, why(ctx)
		}
		// The supervisor holds the socket across restarts of netcore: only one that is cut while it greets is retried.
		if !errors.Is(err, ErrConnectionLost) && !errors.Is(err, ErrShuttingDown) {
			return nil, err
		}
		if !sleep(ctx, delays.wait()) {
			return nil, why(ctx)
		}
	}
}

func newNode(g gateway, conn net.Conn, welcome msgWelcome) *Node {
	n := &Node{
		gateway: g, id: welcome.node, plugin: welcome.plugin, grants: grantsOf(welcome.grants),
		changed: make(chan struct{}), done: make(chan struct{}), announcing: make(chan struct{}, 1),
		listening: map[listenKey]*registration{}, feeds: map[feedKey]feed{}, provided: map[string]*Provision{},
		watchers: map[*watcher[PeerEvent]]struct{}{}, networkWatchers: map[*watcher[NetworkEvent]]struct{}{},
		conns: map[*Conn]struct{}{},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.session = newSession(conn, welcome)
	go n.run(n.session)
	return n
}

// run keeps the session going until the node is closed or can have none any more.
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
	ctx, cancel, _ := patience(n.ctx)
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

// final reports whether connecting again makes no sense: somebody took over, or this launch is over.
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

// fail ends everything that waits for a session.
func (n *Node) fail(err error) {
	n.mu.Lock()
	n.err = err
	n.change()
	listening := n.listening
	n.listening = map[listenKey]*registration{}
	feeds := n.feeds
	n.feeds = map[feedKey]feed{}
	endAll(n.watchers)
	endAll(n.networkWatchers)
	n.mu.Unlock()
	for _, r := range listening {
		r.fail(err)
	}
	for _, f := range feeds {
		f.fail(err)
	}
	n.cancel()
}

// change wakes those who wait for a session; n.mu is held.
func (n *Node) change() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// current is the session, waited for while netcore restarts.
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
			return nil, why(ctx)
		}
	}
}

// ask asks once, on the session there is; see [session.ask].
func (n *Node) ask(ctx context.Context, request msgRequest) (msgResponse, error) {
	s, err := n.current(ctx)
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, request)
}

// handle acts on an event. It runs on the goroutine that reads, and so never waits.
func (n *Node) handle(s *session, event msgEvent) error {
	switch event := event.(type) {
	case msgEventStream:
		n.announced(s, event)
	case msgEventStreamGone:
		n.gone(s, event.stream)
	case msgEventCall:
		n.called(s, event)
	case msgEventCallGone:
		s.callGone(event.call)
	case msgEventPeerUp:
		tell(n, n.watchers, PeerEvent{Kind: PeerUp, Node: event.value.node, Info: event.value.info()})
	case msgEventPeerDown:
		tell(n, n.watchers, PeerEvent{Kind: PeerDown, Node: event.node, Err: event.failure.error()})
	case msgEventGrantsChanged:
		n.granted(grantsOf(event.value))
	case msgEventDropped:
		n.eventsDropped.Add(event.count)
		tell(n, n.watchers, PeerEvent{Kind: PeersMissed})
		tell(n, n.networkWatchers, NetworkEvent{Kind: NetworkMissed})
	case msgEventMessage:
		if sub, ok := n.feed(feedKey{name: event.topic}).(*Subscription); ok {
			sub.arrived(s, event)
		}
	case msgEventDatagram:
		if c, ok := n.feed(feedKey{datagrams: true, name: event.protocol}).(*PacketConn); ok {
			c.in.add(datagram{event.node, event.payload})
		}
	case msgEventNetwork:
		n.networkChanged(networkEvent(event.value))
	case msgEventClosing:
		return event.value.error()
	default:
		n.skipped.Add(1)
	}
	return nil
}

func (n *Node) feed(key feedKey) feed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.feeds[key]
}

// EventsDropped counts the events (streams, messages, datagrams, changes of peers) that the network core dropped since this
// process did not read them.
func (n *Node) EventsDropped() uint64 { return n.eventsDropped.Load() }

// ID is this node.
func (n *Node) ID() NodeID { return n.id }

// Plugin is the name this plugin was installed under.
func (n *Node) Plugin() string { return n.plugin }

// Grants is what the operator allows this plugin at the moment.
func (n *Node) Grants() Grants {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.grants
}

// Done is closed when the node is closed, or can have no session any more; then Err says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why there is no session any more: net.ErrClosed after Close, [ErrSuperseded] when another process of this
// launch took over, [ErrUnauthorised] when the launch is over. It is nil before Done is closed.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// closeTime is how long Close waits for streams that were closed before it to deliver what was written.
const closeTime = 5 * time.Second

// Close ends everything: listeners and requests fail with net.ErrClosed, streams still open are reset with code 0,
// and streams closed before get up to 5 s to deliver what was written to them.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.idle != nil {
		n.mu.Unlock()
		return net.ErrClosed
	}
	idle := make(chan struct{})
	n.idle = idle
	open := make([]*Conn, 0, len(n.conns))
	for c := range n.conns {
		open = append(open, c)
	}
	if len(open) == 0 {
		close(idle)
	}
	n.mu.Unlock()
	for _, c := range open {
		_ = c.Reset(0) // does nothing to one that was closed
	}
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		for _, c := range open {
			_ = c.raw.Close()
		}
	}
	n.cancel()
	<-n.done
	return nil
}

// keep remembers a stream until forget.
func (n *Node) keep(c *Conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.idle != nil || n.err != nil {
		return net.ErrClosed
	}
	n.conns[c] = struct{}{}
	return nil
}

func (n *Node) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.conns[c]; !known {
		return
	}
	delete(n.conns, c)
	if len(n.conns) == 0 && n.idle != nil {
		close(n.idle)
	}
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

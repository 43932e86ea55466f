package polypeer

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Node is this plugin's session with the node it runs on, made by [Connect]. It is safe for concurrent use, and
// reconnects when the network core restarts: listeners continue, requests and streams in flight fail with
// [ErrConnectionLost].
type Node struct {
	gateway gateway
	id      NodeID
	plugin  string
	skipped atomic.Uint64 // events of later versions

	eventsDropped atomic.Uint64 // by netcore, because this process did not read

	announcing chan struct{} // held while a registration is sent

	mu        sync.Mutex
	session   *session      // nil while there is none
	changed   chan struct{} // closed at every change of session
	err       error         // why there are no more sessions
	grants    Grants
	listening map[listenKey]*registration
	feeds     map[feedKey]feed
	provided  map[string]*Provision
	watchers  map[*watcher[PeerEvent]]struct{}
	conns     map[*Conn]struct{}

	up    map[NodeID]upPeer // connected peers, while watched
	round uint64            // counts the requests for all of them

	networkWatchers map[*watcher[NetworkEvent]]struct{}
	networkNow      []NetworkEvent // the last reach and addresses

	idle chan struct{} // closed when the last stream of a closing node is gone

	ctx    context.Context // ends with the node
	cancel context.CancelFunc
	done   chan struct{}
}

// Connect starts the session of this plugin, with the environment variables POLYPEER_GATEWAY and POLYPEER_TOKEN. ctx
// bounds connecting only (30 s without a deadline). In a process that Polypeer did not start it fails with
// [ErrNotAPlugin]. A second session of the same launch replaces the first, which ends with [ErrSuperseded].
func Connect(ctx context.Context) (*Node, error) {
	gateway, err := gatewayFromEnvironment()
	if err != nil {
		return nil, err
	}
	return connect(ctx, gateway)
}

func connect(ctx context.Context, g gateway) (*Node, error) {
	ctx, cancel, _ := withDeadline(ctx)
	defer cancel()
	var delays backoff
	for {
		conn, welcome, err := g.hello(ctx)
		if err == nil {
			return newNode(g, conn, welcome), nil
		}
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		// The supervisor keeps the socket across restarts of netcore: only a handshake that is cut is retried.
		if !errors.Is(err, ErrConnectionLost) && !errors.Is(err, ErrShuttingDown) {
			return nil, err
		}
		if !sleep(ctx, delays.wait()) {
			return nil, contextError(ctx)
		}
	}
}

func newNode(g gateway, conn net.Conn, welcome msgWelcome) *Node {
	n := &Node{
		gateway: g, id: welcome.node, plugin: welcome.plugin, grants: grantsOf(welcome.grants),
		changed: make(chan struct{}), done: make(chan struct{}), announcing: make(chan struct{}, 1),
		listening: map[listenKey]*registration{}, feeds: map[feedKey]feed{}, provided: map[string]*Provision{},
		watchers: map[*watcher[PeerEvent]]struct{}{}, networkWatchers: map[*watcher[NetworkEvent]]struct{}{},
		up: map[NodeID]upPeer{}, conns: map[*Conn]struct{}{},
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.session = newSession(conn, welcome)
	go n.run(n.session)
	return n
}

// fail ends everything that needs a session.
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

// ask sends a request once, on the current session; see [session.ask].
func (n *Node) ask(ctx context.Context, request msgRequest) (msgResponse, error) {
	s, err := n.current(ctx)
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, request)
}

// handle handles an event. It runs on the reading goroutine and never waits.
func (n *Node) handle(s *session, event msgEvent) error {
	switch event := event.(type) {
	case msgEventStream:
		n.onStream(s, event)
	case msgEventStreamGone:
		n.onStreamGone(s, event.stream)
	case msgEventCall:
		n.onCall(s, event)
	case msgEventCallGone:
		s.onCallGone(event.call)
	case msgEventPeerUp:
		n.onPeerUp(event.value.info())
	case msgEventPeerDown:
		n.mu.Lock()
		n.peerDown(event.node, event.failure.error())
		n.mu.Unlock()
	case msgEventGrantsChanged:
		n.onGrantsChanged(grantsOf(event.value))
	case msgEventDropped:
		n.eventsDropped.Add(event.count)
		n.onDropped(s)
	case msgEventMessage:
		if sub, ok := n.feed(feedKey{name: event.topic}).(*Subscription); ok {
			sub.onMessage(s, event)
		}
	case msgEventDatagram:
		if c, ok := n.feed(feedKey{datagrams: true, name: event.protocol}).(*PacketConn); ok {
			c.in.add(datagram{event.node, event.payload})
		}
	case msgEventNetwork:
		n.onNetwork(networkEvent(event.value))
	case msgEventHeartbeat:
		s.trySend(msgClientFrameAlive{}) // with a full queue the plugin does not do its work, and is not alive
	case msgEventClosing:
		return event.value.error()
	default:
		n.skipped.Add(1)
	}
	return nil
}

// onDropped reports that events were lost, and brings what is known of the peers up to date.
func (n *Node) onDropped(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	missed(n.watchers)
	missed(n.networkWatchers)
	if len(n.watchers) > 0 {
		go func() { _ = n.syncPeers(s.ctx, s) }() // fails only with the session
	}
}

func (n *Node) feed(key feedKey) feed {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.feeds[key]
}

// EventsDropped counts the events (streams, messages, datagrams, changes of peers) that the network core dropped
// because this process did not read them.
func (n *Node) EventsDropped() uint64 { return n.eventsDropped.Load() }

// ID is this node's id.
func (n *Node) ID() NodeID { return n.id }

// Plugin is the name this plugin was installed under.
func (n *Node) Plugin() string { return n.plugin }

// Grants is what the operator currently allows this plugin.
func (n *Node) Grants() Grants {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.grants
}

// Done is closed when the node is closed or has no more sessions; then Err says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why there are no more sessions: net.ErrClosed after Close, [ErrSuperseded] when another process of this launch
// took over, [ErrUnauthorised] when the launch has ended. It is nil before Done is closed.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// closeTime is how long Close waits for the delivery of closed streams.
const closeTime = 5 * time.Second

// Close ends the node: listeners and requests fail with net.ErrClosed, open streams are reset with code 0, and streams
// closed before get up to 5 s to deliver what was written.
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
		_ = c.Reset(0) // no effect on a closed one
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

// addConn registers an open stream until removeConn.
func (n *Node) addConn(c *Conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.idle != nil || n.err != nil {
		return net.ErrClosed
	}
	n.conns[c] = struct{}{}
	return nil
}

func (n *Node) removeConn(c *Conn) {
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

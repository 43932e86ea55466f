package polypeer

import (
	"context"
	"net"
	"sync"
	"time"
)

// claimTime bounds claiming one announced stream; netcore is on the same machine and answers at once or is gone.
const claimTime = 10 * time.Second

// announcement is a stream that waits to be claimed.
type announcement struct {
	session *session
	stream  uint64
}

// Listener accepts the streams of one protocol; it is a net.Listener. Accept continues across restarts of the network
// core. At most 128 streams are queued; further ones are refused.
type Listener struct {
	node *Node
	key  listenKey

	mu      sync.Mutex
	waiting []announcement
	err     error         // why there are no more streams
	wake    chan struct{} // holds a token while there may be a stream
	ended   context.Context
	end     context.CancelFunc
}

// Listen serves a protocol to peers; it needs the grant `serve`. Requests arrive as streams, too (read the request up
// to its end, write the reply and CloseWrite), unless [Node.HandleRequests] handles the same protocol. ctx bounds only
// the call itself.
func (n *Node) Listen(ctx context.Context, protocol string) (*Listener, error) {
	return n.listen(ctx, listenKey{protocol, msgScopePeers})
}

// ListenLocal serves a protocol to plugins of this node and the operator's commands, never to peers; it needs the
// grant `serve_local`.
func (n *Node) ListenLocal(ctx context.Context, protocol string) (*Listener, error) {
	return n.listen(ctx, listenKey{protocol, msgScopeLocal})
}

func (n *Node) listen(ctx context.Context, key listenKey) (*Listener, error) {
	l := &Listener{node: n, key: key, wake: make(chan struct{}, 1)}
	l.ended, l.end = context.WithCancel(context.Background())
	err := n.register(ctx, key, func(r *registration) bool {
		if r.listener != nil {
			return false
		}
		r.listener = l
		return true
	}, func(r *registration) { r.listener = nil })
	if err != nil {
		l.end()
		return nil, err
	}
	return l, nil
}

// Accept waits for a stream and claims it. It fails only when the listener has ended: net.ErrClosed after Close,
// [ErrNotGranted] when the operator revoked the grant, or why the node has no more sessions.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptContext(context.Background())
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// AcceptContext is Accept bounded by ctx.
func (l *Listener) AcceptContext(ctx context.Context) (*Conn, error) {
	for {
		next, ok, err := l.take()
		if err != nil {
			return nil, &net.OpError{Op: "accept", Net: "polypeer", Addr: l.Addr(), Err: err}
		}
		if ok {
			// A claim fails when the opener or netcore has withdrawn the stream: try the next.
			if conn, err := l.claim(next); err == nil {
				return conn, nil
			}
			continue
		}
		select {
		case <-l.wake:
		case <-l.ended.Done():
		case <-ctx.Done():
			return nil, &net.OpError{Op: "accept", Net: "polypeer", Addr: l.Addr(), Err: ctx.Err()}
		}
	}
}

func (l *Listener) claim(a announcement) (*Conn, error) {
	ctx, cancel := context.WithTimeout(l.ended, claimTime)
	defer cancel()
	return l.node.opened(ctx, a.session, msgOpeningAccept{a.session.secret, a.stream}, l.key.protocol, nil)
}

// take is the oldest announced stream.
func (l *Listener) take() (next announcement, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return next, false, l.err
	}
	for len(l.waiting) > 0 && !ok {
		next, l.waiting = l.waiting[0], l.waiting[1:]
		ok = next.session.ctx.Err() == nil
	}
	if len(l.waiting) > 0 {
		l.signal() // for another Accept
	}
	return next, ok, nil
}

func (l *Listener) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// add queues an announced stream; false when the queue is full or the listener has ended.
func (l *Listener) add(a announcement) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || len(l.waiting) >= maxUnclaimed {
		return false
	}
	l.waiting = append(l.waiting, a)
	l.signal()
	return true
}

func (l *Listener) remove(s *session, stream uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range l.waiting {
		if a.session == s && a.stream == stream {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
}

func (l *Listener) fail(err error) (left []announcement) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	left, l.waiting = l.waiting, nil
	l.mu.Unlock()
	l.end()
	return left
}

// Close stops serving; queued streams are refused, accepted ones continue.
func (l *Listener) Close() error {
	for _, a := range l.fail(net.ErrClosed) {
		a.session.refuse(a.stream, "the listener was closed")
	}
	l.node.unregister(l.key, func(r *registration) bool {
		mine := r.listener == l
		if mine {
			r.listener = nil
		}
		return mine
	})
	return nil
}

// Addr is an [Addr]: this node and the protocol.
func (l *Listener) Addr() net.Addr {
	return Addr{Origin: Origin{Peer: l.node.id}, Protocol: l.key.protocol}
}

// onStream passes a stream to its listener or refuses it.
func (n *Node) onStream(s *session, event msgEventStream) {
	key := listenKey{event.protocol, originOf(event.origin).scope()}
	n.mu.Lock()
	r := n.listening[key]
	var l *Listener
	if r != nil {
		l = r.listener
	}
	n.mu.Unlock()
	switch {
	case l == nil:
		s.refuse(event.stream, "the plugin accepts no streams of this protocol")
	case !l.add(announcement{s, event.stream}):
		s.refuse(event.stream, "the plugin is busy")
	}
}

// onStreamGone removes a withdrawn stream.
func (n *Node) onStreamGone(s *session, stream uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.listening {
		if r.listener != nil {
			r.listener.remove(s, stream)
		}
	}
}

// refuse refuses a stream, without waiting: if the queue to netcore is full, the stream times out unclaimed.
func (s *session) refuse(stream uint64, why string) {
	s.trySend(msgClientFrameRequest{s.number(), msgRequestRefuseStream{stream, newFailure(CodeRefused, why)}})
}

package polypeer

import (
	"context"
	"net"
	"sync"
)

// Call is one request of a peer or of a plugin of this node.
type Call struct {
	Origin   Origin // the peer or local plugin that sent it
	Protocol string
	Payload  []byte // at most 64 KiB
}

// Handler answers calls; each runs on its own goroutine, at most 256 at a time. ctx ends when the caller cancels. The
// reply has at most 64 KiB. An error reaches the caller: an [Error] with an application's code, or with [CodeRefused],
// unchanged, any other as `handler failed` with its text.
type Handler func(ctx context.Context, call *Call) (reply []byte, err error)

// Service answers the requests of one protocol; made by [Node.HandleRequests].
type Service struct {
	node    *Node
	key     listenKey
	handler Handler
	places  chan struct{}

	mu   sync.Mutex
	err  error
	done chan struct{}
}

// HandleRequests answers the requests of peers for one protocol; it needs the grant `serve`. ctx bounds only the
// registration; the handler runs until Close. [Node.Listen] may accept streams of the same protocol at the same time.
func (n *Node) HandleRequests(ctx context.Context, protocol string, handler Handler) (*Service, error) {
	return n.handleRequests(ctx, listenKey{protocol, msgScopePeers}, handler)
}

// HandleRequestsLocal answers the requests of plugins of this node and of the operator; it needs the grant
// `serve_local`.
func (n *Node) HandleRequestsLocal(ctx context.Context, protocol string, handler Handler) (*Service, error) {
	return n.handleRequests(ctx, listenKey{protocol, msgScopeLocal}, handler)
}

func (n *Node) handleRequests(ctx context.Context, key listenKey, handler Handler) (*Service, error) {
	service := &Service{node: n, key: key, handler: handler, places: make(chan struct{}, maxCalls), done: make(chan struct{})}
	err := n.register(ctx, key, func(r *registration) bool {
		if r.service != nil {
			return false
		}
		r.service = service
		return true
	}, func(r *registration) { r.service = nil })
	if err != nil {
		return nil, err
	}
	return service, nil
}

// Done is closed when the service has ended; then Err says why.
func (s *Service) Done() <-chan struct{} { return s.done }

// Err is why the service ended: net.ErrClosed after Close, or why the protocol can no longer be served.
func (s *Service) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close accepts no more requests; those in progress are still answered.
func (s *Service) Close() error {
	s.fail(net.ErrClosed)
	s.node.unregister(s.key, func(r *registration) bool {
		mine := r.service == s
		if mine {
			r.service = nil
		}
		return mine
	})
	return nil
}

func (s *Service) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}

// onCall starts the handler of a call or declines it.
func (n *Node) onCall(s *session, event msgEventCall) {
	origin := originOf(event.origin)
	key := listenKey{event.protocol, origin.scope()}
	n.mu.Lock()
	r := n.listening[key]
	var service *Service
	if r != nil {
		service = r.service
	}
	n.mu.Unlock()
	if service == nil {
		s.trySend(msgClientFrameDecline{event.call, newFailure(CodeRefused, "the plugin answers no requests of this protocol")})
		return
	}
	select {
	case service.places <- struct{}{}:
	default:
		s.trySend(msgClientFrameDecline{event.call, newFailure(CodeRefused, "the plugin is busy")})
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	s.calls[event.call] = cancel
	s.mu.Unlock()
	go func() {
		defer func() { <-service.places }()
		defer s.onCallGone(event.call)
		reply, err := service.handler(ctx, &Call{origin, event.protocol, event.payload})
		// A byte over the limit makes netcore tell the caller `too large`; in a Decline the code would become
		// `refused`.
		reply = reply[:min(len(reply), maxPayload+1)]
		var answer msgValue = msgClientFrameAnswer{event.call, reply}
		if err != nil {
			answer = msgClientFrameDecline{event.call, failure(err)}
		}
		_ = s.send(s.ctx, answer) // fails only with the session, and then the call has ended
	}()
}

// onCallGone ends the context of a call.
func (s *session) onCallGone(call uint64) {
	s.mu.Lock()
	cancel := s.calls[call]
	delete(s.calls, call)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

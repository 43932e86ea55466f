package polypeer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// session is one control session, for the life of its connection. The node starts a new one when it ends.
type session struct {
	conn   net.Conn
	secret [32]byte
	out    *outbox
	slots  chan struct{} // one for each request in flight, so that netcore never answers busy

	ctx    context.Context // ends with the session
	cancel context.CancelFunc

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan msgResponse
	calls   map[uint64]context.CancelFunc
	err     error // why it ended
}

func newSession(conn net.Conn, welcome msgWelcome) *session {
	s := &session{
		conn: conn, secret: welcome.secret,
		out: newOutbox(conn), slots: make(chan struct{}, maxRequests),
		pending: map[uint64]chan msgResponse{}, calls: map[uint64]context.CancelFunc{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.write()
	return s
}

// serve reads until the session ends and handles each event; `handle` must not wait. It returns why the session ended.
func (s *session) serve(handle func(msgEvent) error) error {
	err := s.read(handle)
	s.end(err)
	return s.failure()
}

func (s *session) read(handle func(msgEvent) error) error {
	reader := bufio.NewReaderSize(s.conn, 16<<10)
	var buf []byte
	for {
		var err error
		if buf, err = readFrame(reader, buf); err != nil {
			return sessionFailure(err)
		}
		in, err := decodeMsgServerFrame(buf)
		if err != nil {
			return malformed(err)
		}
		switch in := in.(type) {
		case msgServerFrameResponse:
			s.answer(in.id, in.response)
		case msgServerFrameEvent:
			if err := handle(in.value); err != nil {
				return err
			}
		}
		if cap(buf) > 64<<10 {
			buf = nil // large frames are rare: release the buffer
		}
	}
}

func (s *session) write() {
	if err := s.out.write(s.ctx.Done()); err != nil {
		s.end(rawFailure(err))
	}
}

// end ends the session; the first reason stays.
func (s *session) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.cancel()
	_ = s.conn.Close()
}

func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// send queues a frame, and waits for room.
func (s *session) send(ctx context.Context, m msgValue) error {
	for {
		full, err := s.out.put(m, s.quiet())
		if full == nil {
			return err
		}
		select {
		case <-full:
		case <-ctx.Done():
			return contextError(ctx)
		case <-s.ctx.Done():
			return s.ended()
		}
	}
}

// trySend queues a frame if there is room, and reports whether there was; for the reading goroutine, which never
// waits.
func (s *session) trySend(m msgValue) bool {
	full, err := s.out.put(m, s.quiet())
	return full == nil && err == nil
}

// quiet reports whether one request or call is in progress at most.
func (s *session) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)+len(s.calls) <= 1
}

// ended is the error of requests in flight when their session ends.
func (s *session) ended() error {
	err := s.failure()
	if errors.Is(err, net.ErrClosed) || errors.Is(err, ErrSuperseded) {
		return err
	}
	return lost(fmt.Sprintf("the session with the network core ended (%v)", err))
}

// number is a new request id.
func (s *session) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next
}

// answers is channels for one response each, all empty.
var answers = sync.Pool{New: func() any { return make(chan msgResponse, 1) }}

// ask sends a request and waits for its answer. When ctx ends first the request is cancelled, and occupies its slot
// until netcore has answered.
func (s *session) ask(ctx context.Context, request msgRequest) (msgResponse, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, contextError(ctx)
	case <-s.ctx.Done():
		return nil, s.ended()
	}
	answer := answers.Get().(chan msgResponse)
	s.mu.Lock()
	s.next++
	id := s.next
	s.pending[id] = answer
	s.mu.Unlock()
	if err := s.send(ctx, msgClientFrameRequest{id, request}); err != nil {
		s.answer(id, msgResponseDone{})
		return nil, err
	}
	select {
	case response := <-answer:
		answers.Put(answer)
		return response, failed(response)
	case <-ctx.Done():
		go func() { // at most one per request in flight
			cancelling, stop := context.WithTimeout(context.Background(), 10*time.Second)
			defer stop()
			_ = s.send(cancelling, msgClientFrameCancel{id})
		}()
		return nil, contextError(ctx)
	case <-s.ctx.Done():
		select {
		case response := <-answer: // it arrived just before the end
			return response, failed(response)
		default:
			return nil, s.ended()
		}
	}
}

// failed is the error of a failed response, or nil.
func failed(response msgResponse) error {
	switch response := response.(type) {
	case msgResponseFailed:
		return response.value.error()
	case msgResponseUnknown:
		return &Error{Code: CodeUnsupported, Message: "a response of a later version"}
	}
	return nil
}

// answer passes a response to its waiting request and frees its slot.
func (s *session) answer(id uint64, response msgResponse) {
	s.mu.Lock()
	waiting := s.pending[id]
	delete(s.pending, id)
	s.mu.Unlock()
	if waiting != nil {
		waiting <- response
		<-s.slots
	}
}

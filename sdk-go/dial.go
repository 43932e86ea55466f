package polypeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Dial opens a stream to a peer, named by its node id or by a ticket; it needs the grant `dial`. It returns when a
// plugin at the other end has accepted the stream. ctx bounds the whole call (30 s without a deadline), not the open
// stream.
//
// Errors to expect: [ErrUnknownPeer], [ErrUnreachable], [ErrNotServed], [ErrRefused], [ErrTimedOut],
// [ErrTooManyStreams], [ErrNotGranted], [ErrPeerNotAllowed], [ErrBlocked].
func (n *Node) Dial(ctx context.Context, peer, protocol string) (*Conn, error) {
	target, err := parseTarget(peer)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "polypeer", Err: err}
	}
	return n.dial(ctx, target, protocol, nil)
}

// DialWith is Dial that sends first with the opening, as the stream's first bytes: it travels before the stream is
// accepted. It is discarded when the stream is refused; do not rely on that, since the refusal may be that a connection
// was lost after the other plugin had read it. A dial that a restart of the network core cuts is not tried again: it
// fails with [ErrConnectionLost].
func (n *Node) DialWith(ctx context.Context, peer, protocol string, first []byte) (*Conn, error) {
	target, err := parseTarget(peer)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "polypeer", Err: err}
	}
	return n.dial(ctx, target, protocol, first)
}

// DialLocal opens a stream to the plugin of this node that serves the protocol locally.
func (n *Node) DialLocal(ctx context.Context, protocol string) (*Conn, error) {
	return n.dial(ctx, msgTargetLocal{}, protocol, nil)
}

// DialLocalWith is DialLocal that sends first with the opening, as [Node.DialWith] does.
func (n *Node) DialLocalWith(ctx context.Context, protocol string, first []byte) (*Conn, error) {
	return n.dial(ctx, msgTargetLocal{}, protocol, first)
}

func (n *Node) dial(ctx context.Context, to msgTarget, protocol string, first []byte) (*Conn, error) {
	ctx, cancel, left := withDeadline(ctx)
	defer cancel()
	conn, err := n.open(ctx, to, protocol, left, first)
	if err != nil {
		if ctx.Err() != nil {
			err = contextError(ctx)
		}
		return nil, &net.OpError{Op: "dial", Net: "polypeer", Addr: targetAddr(to, protocol), Err: err}
	}
	return conn, nil
}

// targetAddr is the address of a target, for errors.
func targetAddr(to msgTarget, protocol string) Addr {
	addr := Addr{Protocol: protocol}
	switch to := to.(type) {
	case msgTargetNode:
		addr.Origin.Peer = to.value
	case msgTargetTicket:
		text, _, _ := strings.Cut(strings.TrimPrefix(to.value, "polypeer:"), "@")
		addr.Origin.Peer, _ = ParseNodeID(text)
	default:
		addr.Origin.Plugin = "any"
	}
	return addr
}

// settleTime is how long a failed dial waits to see whether netcore has restarted.
const settleTime = time.Second

// maxFirst is how many bytes go with an opening: netcore takes more, so that writing them never waits for the answer.
const maxFirst = 32 << 10

// open opens a stream. An opening cut by a restart of netcore is retried on the next session, if nothing was sent with
// it.
func (n *Node) open(
	ctx context.Context, to msgTarget, protocol string, left func() uint32, first []byte,
) (*Conn, error) {
	early := first[:min(len(first), maxFirst)]
	for {
		s, err := n.current(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := n.opened(ctx, s, msgOpeningOpen{s.secret, to, protocol, left()}, protocol, early)
		if err == nil {
			return conn, conn.writeRest(ctx, first[len(early):])
		}
		again := errors.Is(err, ErrUnauthorised) || errors.Is(err, ErrConnectionLost) && len(early) == 0
		if !again {
			return nil, err
		}
		timer := time.NewTimer(settleTime)
		select {
		case <-s.ctx.Done():
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
			return nil, err // the session lasts: only the stream was cut
		}
	}
}

// writeRest writes what did not go with the opening; ctx bounds it. An other end that needs no more is no failure: its
// answer is there to read. After any failure the stream is reset.
func (c *Conn) writeRest(ctx context.Context, rest []byte) error {
	if len(rest) == 0 {
		return nil
	}
	undo := context.AfterFunc(ctx, func() { _ = c.Reset(0) })
	_, err := c.Write(rest)
	if !undo() {
		return ctx.Err() // the stream was reset, even if all was written
	}
	if err == nil || needsNoMore(err) {
		return nil
	}
	_ = c.Reset(0)
	return err
}

// Request sends one message to a peer, named by its node id or a ticket, and waits for the reply; both have at most
// 64 KiB. It needs the grant `dial`. ctx bounds the whole call (30 s without a deadline). A request in flight when
// the network core restarts fails with [ErrConnectionLost] and may have been handled.
func (n *Node) Request(ctx context.Context, peer, protocol string, payload []byte) ([]byte, error) {
	target, err := parseTarget(peer)
	if err != nil {
		return nil, err
	}
	return n.request(ctx, target, protocol, payload)
}

// RequestLocal is Request to the plugin of this node that serves the protocol locally.
func (n *Node) RequestLocal(ctx context.Context, protocol string, payload []byte) ([]byte, error) {
	return n.request(ctx, msgTargetLocal{}, protocol, payload)
}

func (n *Node) request(ctx context.Context, to msgTarget, protocol string, payload []byte) ([]byte, error) {
	if len(payload) > maxPayload {
		return nil, &Error{Code: CodeTooLarge, Message: fmt.Sprintf("the payload has %d bytes; the limit is %d", len(payload), maxPayload)}
	}
	ctx, cancel, left := withDeadline(ctx)
	defer cancel()
	s, err := n.current(ctx)
	if err != nil {
		return nil, err
	}
	response, err := s.ask(ctx, msgRequestCall{to, protocol, payload, left()})
	if err != nil {
		return nil, err
	}
	reply, ok := response.(msgResponseReply)
	if !ok {
		return nil, errUnexpected
	}
	return reply.payload, nil
}

var errUnexpected = &Error{Code: CodeMalformed, Message: "netcore sent a response of the wrong kind"}

// parseTarget reads a node id or a ticket.
func parseTarget(peer string) (msgTarget, error) {
	peer = strings.TrimSpace(peer)
	if strings.HasPrefix(peer, "polypeer:") {
		if !isTicket(peer) {
			return nil, &Error{Code: CodeBadArgument, Message: fmt.Sprintf("%.80q is not a ticket: expected polypeer:ID@ADDRESS,…", peer)}
		}
		return msgTargetTicket{peer}, nil
	}
	id, err := ParseNodeID(peer)
	if err != nil {
		return nil, &Error{Code: CodeBadArgument, Message: err.Error() + ", or a ticket polypeer:…"}
	}
	return msgTargetNode{id}, nil
}

package polypeer

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

// gateway is the socket and token of this plugin launch.
type gateway struct {
	path  string
	token [32]byte
}

// gatewayFromEnvironment reads the variables set by the supervisor.
func gatewayFromEnvironment() (gateway, error) {
	path, text := os.Getenv("POLYPEER_GATEWAY"), os.Getenv("POLYPEER_TOKEN")
	if path == "" || text == "" {
		return gateway{}, ErrNotAPlugin
	}
	g := gateway{path: path}
	token, err := hex.DecodeString(text)
	if err != nil || len(token) != len(g.token) || strings.ToLower(text) != text {
		return gateway{}, errors.New("POLYPEER_TOKEN is not 64 hexadecimal digits")
	}
	copy(g.token[:], token)
	return g, nil
}

// connect makes one connection to the gateway.
func (g gateway) connect(ctx context.Context) (net.Conn, error) {
	conn, err := dialSocket(ctx, g.path)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the gateway of Polypeer: %w", err)
	}
	return conn, nil
}

// interruptible makes reads and writes of conn fail when a context ends. The returned function undoes it and reports
// whether no context had ended.
func interruptible(conn net.Conn, contexts ...context.Context) (undo func() bool) {
	var stops []func() bool
	for _, ctx := range contexts {
		stops = append(stops, context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) }))
	}
	return func() bool {
		intact := true
		for _, stop := range stops {
			intact = stop() && intact
		}
		return intact
	}
}

// hello starts a control session.
func (g gateway) hello(ctx context.Context) (net.Conn, msgWelcome, error) {
	conn, err := g.connect(ctx)
	if err != nil {
		return nil, msgWelcome{}, err
	}
	undo := interruptible(conn, ctx)
	welcome, err := g.greet(conn)
	if !undo() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, msgWelcome{}, err
	}
	return conn, welcome, nil
}

func (g gateway) greet(conn net.Conn) (welcome msgWelcome, err error) {
	out, err := frame(msgOpeningHello{versions: []uint32{protocolVersion}, token: g.token})
	if err != nil {
		return welcome, err
	}
	if _, err := conn.Write(out); err != nil {
		return welcome, rawFailure(err)
	}
	body, err := readFrame(conn, nil)
	if err != nil {
		return welcome, sessionFailure(err)
	}
	reply, err := decodeMsgOpeningReply(body)
	if err != nil {
		return welcome, malformed(err)
	}
	switch reply := reply.(type) {
	case msgOpeningReplyWelcome:
		if version := reply.value.version; version != protocolVersion {
			return welcome, &Error{Code: CodeUnsupportedVersion, Message: fmt.Sprintf("netcore chose version %d", version)}
		}
		return reply.value, nil
	case msgOpeningReplyRefused:
		return welcome, reply.value.error()
	}
	return welcome, &Error{Code: CodeMalformed, Message: "netcore answered hello with a stream"}
}

// sessionFailure converts an error of reading frames to the session's.
func sessionFailure(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return lost("the network core ended the session")
	}
	return rawFailure(err)
}

// opened makes a data connection: it sends the opening, with the first bytes of the stream, and reads the reply. It
// fails when the session ends, since the opening carries its secret.
func (n *Node) opened(
	ctx context.Context, s *session, opening msgOpening, protocol string, first []byte,
) (*Conn, error) {
	raw, err := n.gateway.connect(ctx)
	if err != nil {
		return nil, err
	}
	undo := interruptible(raw, ctx, s.ctx)
	conn := newConn(n, raw)
	err = conn.open(opening, protocol, first)
	if !undo() && err == nil {
		err = lost("the session ended")
	}
	if err == nil {
		err = n.addConn(conn)
	}
	if err != nil {
		_ = raw.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return conn, nil
}

// open is the handshake of a new data connection. Data after the reply stays in the read buffer.
func (c *Conn) open(opening msgOpening, protocol string, first []byte) error {
	out, err := frame(opening)
	if err != nil {
		return err
	}
	if len(first) > 0 {
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(first))), first...)
	}
	if _, err := c.raw.Write(out); err != nil {
		return rawFailure(err)
	}
	length := frameHeader
	for c.end < length {
		n, err := c.raw.Read(c.buf[c.end:])
		if c.end += n; n == 0 && err != nil {
			return rawFailure(err)
		}
		if length == frameHeader && c.end >= frameHeader {
			if length, err = frameLength(c.buf); err != nil || length > len(c.buf) {
				return &Error{Code: CodeMalformed, Message: "the reply to an opening is too long"}
			}
		}
	}
	c.start = length
	reply, err := decodeMsgOpeningReply(c.buf[frameHeader:length])
	if err != nil {
		return malformed(err)
	}
	switch reply := reply.(type) {
	case msgOpeningReplyOpened:
		c.remote = Addr{Origin: originOf(reply.origin), Protocol: reply.protocol}
		c.local = Addr{Origin: Origin{Peer: c.node.id}, Protocol: protocol}
		return nil
	case msgOpeningReplyRefused:
		return reply.value.error()
	}
	return &Error{Code: CodeMalformed, Message: "netcore answered the opening of a stream with a session"}
}

package polypeer

import (
	"context"
	"net"
	"os"
	"time"
)

const (
	maxDatagram = 1024
	// datagramQueue bounds the datagrams that wait for a reader, 1 MiB at most.
	datagramQueue = 1024
)

type datagram struct {
	peer    NodeID
	payload []byte
}

// PacketConn sends and receives the datagrams of a protocol: a net.PacketConn whose addresses are an [Addr] with a
// peer. A datagram has at most 1,024 bytes, goes to a connected peer, and arrives once or never.
type PacketConn struct {
	node     *Node
	protocol string
	in       *inbox[datagram]
	read     deadline
	write    deadline
}

var _ net.PacketConn = (*PacketConn)(nil)

// ListenPacket receives the datagrams of a protocol, and can send them; it needs the grant `serve`, and `dial` to send.
// One plugin per node receives a protocol's datagrams. 1,024 are queued; then the oldest is dropped and counted. It
// continues across restarts of the network core. ctx bounds only the call itself.
func (n *Node) ListenPacket(ctx context.Context, protocol string) (*PacketConn, error) {
	c := &PacketConn{
		node: n, protocol: protocol, in: newInbox[datagram](datagramQueue), read: newDeadline(), write: newDeadline(),
	}
	if err := n.beginFeed(ctx, c.key(), c); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "polypeer", Addr: c.LocalAddr(), Err: err}
	}
	return c, nil
}

// SendDatagram sends at most 1,024 bytes to a connected peer; they arrive once or never, and a loss is not
// reported. It returns once they are queued. It needs the grant `dial`, and fails with [ErrUnreachable] when the peer
// is not connected: Request and Dial connect.
func (n *Node) SendDatagram(ctx context.Context, peer NodeID, protocol string, payload []byte) error {
	if len(payload) > maxDatagram {
		return tooLarge("datagram", len(payload), maxDatagram)
	}
	_, err := n.askBounded(ctx, msgRequestSendDatagram{peer, protocol, payload})
	return err
}

// ReadFrom waits for a datagram and copies it into p; the rest is discarded, as with UDP. The address is an [Addr].
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		found, ok, err := c.in.try()
		if ok {
			return copy(p, found.payload), Addr{Origin: Origin{Peer: found.peer}, Protocol: c.protocol}, nil
		}
		if err == nil && c.read.expired() {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			return 0, nil, c.failure("read", nil, err)
		}
		c.wait()
	}
}

// wait returns when there may be something to read, or the deadline may have passed.
func (c *PacketConn) wait() {
	at, changed := c.read.get()
	var late <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-c.in.wake:
	case <-c.in.ended:
	case <-changed:
	case <-late:
	}
}

// WriteTo sends a datagram to a peer; see [Node.SendDatagram]. The address is an [Addr] with a peer and this protocol,
// such as ReadFrom gives.
func (c *PacketConn) WriteTo(p []byte, to net.Addr) (int, error) {
	addr, ok := to.(Addr)
	if !ok || addr.Origin.Local() || addr.Protocol != c.protocol {
		return 0, c.failure("write", to, badArgument("%v is not a peer that speaks %s", to, c.protocol))
	}
	if err := c.in.failure(); err != nil {
		return 0, c.failure("write", to, err)
	}
	ctx := c.node.ctx
	if at, _ := c.write.get(); !at.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, at)
		defer cancel()
	}
	err := c.node.SendDatagram(ctx, addr.Origin.Peer, c.protocol, p)
	if err == nil {
		return len(p), nil
	}
	if ctx.Err() == context.DeadlineExceeded {
		err = os.ErrDeadlineExceeded
	}
	return 0, c.failure("write", to, err)
}

// Dropped counts the datagrams dropped here because they were not read in time.
func (c *PacketConn) Dropped() uint64 { return c.in.lost() }

// Close stops receiving.
func (c *PacketConn) Close() error {
	c.fail(net.ErrClosed)
	c.node.endFeed(c.key(), c)
	return nil
}

// LocalAddr is an [Addr]: this node and the protocol.
func (c *PacketConn) LocalAddr() net.Addr {
	return Addr{Origin: Origin{Peer: c.node.id}, Protocol: c.protocol}
}

// PeerAddr is the address of a peer for WriteTo.
func (c *PacketConn) PeerAddr(peer NodeID) Addr {
	return Addr{Origin: Origin{Peer: peer}, Protocol: c.protocol}
}

// SetDeadline sets both deadlines.
func (c *PacketConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

// SetReadDeadline sets the deadline of ReadFrom, including one in progress.
func (c *PacketConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline sets the deadline of the next WriteTo.
func (c *PacketConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

func (c *PacketConn) key() feedKey      { return feedKey{datagrams: true, name: c.protocol} }
func (c *PacketConn) begin() msgRequest { return msgRequestReceiveDatagrams{c.protocol, true} }
func (c *PacketConn) end() msgRequest   { return msgRequestReceiveDatagrams{c.protocol, false} }
func (c *PacketConn) fail(err error)    { c.in.fail(err) }

func (c *PacketConn) failure(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "polypeer", Source: c.LocalAddr(), Addr: to, Err: err}
}

package polypeer

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Addr is one end of a stream or a listener: a node, or a plugin of this node, and the protocol.
type Addr struct {
	Origin   Origin
	Protocol string
}

// Network is "polypeer".
func (a Addr) Network() string { return "polypeer" }

// String is the node id (or `local:` and the plugin's name), a slash and the protocol.
func (a Addr) String() string { return a.Origin.String() + "/" + a.Protocol }

const (
	// readBuffer holds a header and a small frame, so that a small message costs one read; larger reads go straight
	// into the caller's buffer. An idle stream needs no other buffer.
	readBuffer = 4 << 10
	// lingerTime bounds the delivery of a closed stream's data; then the stream is cut.
	lingerTime = 5 * time.Minute
	// resetTime bounds how long a reset waits for a partly written frame.
	resetTime = time.Second
	// pollEvery is how often a writer checks whether the other end stopped reading, while no reader does.
	pollEvery = 100 * time.Millisecond
)

// Conn is a stream: a net.Conn whose ends are nodes, or plugins of one node. Read, Write and the rest may be called
// from several goroutines at once.
//
// Read tells the ends of a stream apart: io.EOF only when the other end wrote everything and ended its direction, a
// [*StreamError] when it aborted the stream, an error for which errors.Is(err, ErrConnectionLost) holds when the stream
// was cut.
type Conn struct {
	raw           net.Conn
	node          *Node
	local, remote Addr

	readMu       sync.Mutex // guards the read buffer and the position in the current frame
	buf          []byte
	start, end   int // the bytes of buf not yet used
	remaining    int // payload bytes of the current data frame not yet delivered
	order        dataOrder
	readDeadline deadline

	writeLock     chan struct{}         // held while frames are written, by one writer or by the flusher
	header        [2 * frameHeader]byte // of the frame being written, after a pending stop frame
	pieces        [2][]byte
	polled        time.Time // when a writer last polled; guarded by writeLock
	writeDeadline deadline
	pendingStop   atomic.Uint64 // a stop frame to send: its code + 1

	mu       sync.Mutex // guards the states below
	readErr  error      // why reading has ended
	writeErr error      // why writing has ended
	armed    time.Time  // the raw connection's write deadline
	finSent  bool
	cutShort bool // a Write was interrupted by Close: the data sent is incomplete

	closeOnce sync.Once
	closing   chan struct{}
}

func newConn(n *Node, raw net.Conn) *Conn {
	return &Conn{
		raw: raw, node: n, buf: make([]byte, readBuffer),
		writeLock: make(chan struct{}, 1), closing: make(chan struct{}),
		readDeadline: newDeadline(), writeDeadline: newDeadline(),
	}
}

// Peer is the node at the other end; zero when that is a plugin of this node.
func (c *Conn) Peer() NodeID { return c.remote.Origin.Peer }

// Origin is the peer or local plugin at the other end.
func (c *Conn) Origin() Origin { return c.remote.Origin }

// Protocol is the protocol the stream was opened with.
func (c *Conn) Protocol() string { return c.remote.Protocol }

// LocalAddr is an [Addr].
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is an [Addr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; see [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes Read fail with os.ErrDeadlineExceeded from t on. The stream stays usable after a new
// deadline is set.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.isClosing() {
		return c.wrap("set", net.ErrClosed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readDeadline.set(t)
	if c.readErr == nil {
		_ = c.raw.SetReadDeadline(t) // fails only where reading fails too
	}
	return nil
}

// SetWriteDeadline makes Write fail with os.ErrDeadlineExceeded from t on. Bytes that Write counted as written still
// arrive, and the stream stays usable after a new deadline is set.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.isClosing() {
		return c.wrap("set", net.ErrClosed)
	}
	c.writeDeadline.set(t)
	c.arm(true)
	return nil
}

func (c *Conn) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

func (c *Conn) readState() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readErr
}

func (c *Conn) writeState() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeErr
}

// endRead records why reading has ended; the first reason stays.
func (c *Conn) endRead(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readErr == nil {
		c.readErr = err
	}
}

func (c *Conn) endWrite(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writeErr == nil {
		c.writeErr = err
	}
}

// cut records that the connection to netcore is unusable.
func (c *Conn) cut(err error) {
	c.endRead(err)
	c.endWrite(err)
}

// wrap wraps an operation's error in a net.OpError, except io.EOF, which readers compare directly.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "polypeer", Source: c.local, Addr: c.remote, Err: err}
}

// broken reports whether an error of the raw connection is its end, and not a timeout.
func broken(err error) bool { return !errors.Is(err, os.ErrDeadlineExceeded) }

// rawFailure converts an error of the raw connection to the stream's.
func rawFailure(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case err == io.EOF, errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return lost("the network core ended the stream")
	}
	return lost(err.Error())
}

// deadline is a point in time that may change while it is awaited.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	changed chan struct{}
}

func newDeadline() deadline { return deadline{changed: make(chan struct{})} }

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	close(d.changed)
	d.changed = make(chan struct{})
}

// get is the deadline, and a channel closed when it changes.
func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, d.changed
}

func (d *deadline) expired() bool {
	at, _ := d.get()
	return !at.IsZero() && !time.Now().Before(at)
}

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

// Addr is one end of a stream or a listener: a node, or a plugin of this node, and the protocol spoken.
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
	// into the caller's buffer. It is all that an idle stream keeps.
	readBuffer = 4 << 10
	// lingerTime bounds how long a closed stream's data may take to reach the other end before it is cut.
	lingerTime = 5 * time.Minute
	// resetTime bounds how long a reset waits for a frame that is half written.
	resetTime = time.Second
	// pollEvery is how often a writer looks whether the other end stopped reading, when nobody reads.
	pollEvery = 100 * time.Millisecond
)

// Conn is a stream: a net.Conn whose ends are nodes, or plugins of one node. Read, Write and the rest may be called
// from several goroutines at once.
//
// How a stream ended is always known: Read returns io.EOF only when the other end wrote everything and said so; a
// [*StreamError] when it gave up on purpose; an error for which errors.Is(err, ErrConnectionLost) holds when the
// stream was cut.
type Conn struct {
	raw           net.Conn
	node          *Node
	local, remote Addr

	readMu       sync.Mutex // guards the read buffer and the place in the current frame
	buf          []byte
	start, end   int // the bytes of buf not yet used
	remaining    int // payload bytes of the current data frame not yet delivered
	order        dataOrder
	readDeadline deadline

	writeLock     chan struct{}         // held while frames are written, by one writer or by the flusher
	header        [2 * frameHeader]byte // of the frame being written, after a stop frame if one was asked for
	pieces        [2][]byte
	polled        time.Time // when a writer last looked at what comes in; guarded by writeLock
	writeDeadline deadline
	pendingStop   atomic.Uint64 // a stop frame to send: its code + 1

	mu       sync.Mutex // guards the states below
	readErr  error      // why nothing more can be read
	writeErr error      // why nothing more can be written
	armed    time.Time  // the raw connection's write deadline
	finSent  bool
	cutShort bool // a Write was interrupted by Close: what was sent is not everything

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

// Origin is who is at the other end.
func (c *Conn) Origin() Origin { return c.remote.Origin }

// Protocol is what the stream was opened for.
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

// SetReadDeadline makes Read fail with os.ErrDeadlineExceeded from t on. The stream can be used on after a new
// deadline was set.
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
// arrive, and the stream can be used on after a new deadline was set.
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

// endRead records why nothing more can be read; the first reason stays.
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

// cut records that the connection to netcore is of no use any more.
func (c *Conn) cut(err error) {
	c.endRead(err)
	c.endWrite(err)
}

// wrap puts an error of one operation into a net.OpError, but the end of the stream, which readers compare directly.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "polypeer", Source: c.local, Addr: c.remote, Err: err}
}

// broken reports whether an error of the raw connection means that it ended, rather than that time is up.
func broken(err error) bool { return !errors.Is(err, os.ErrDeadlineExceeded) }

// rawFailure is what an error of the raw connection means for the stream.
func rawFailure(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case err == io.EOF, errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return lost("the network core ended the stream")
	}
	return lost(err.Error())
}

// deadline is a moment that may change while somebody waits for it.
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

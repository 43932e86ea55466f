package polypeer

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// copyBuffer is the buffer size for io.Copy: large enough that headers and system calls are negligible.
const copyBuffer = 128 << 10

// longAgo is a deadline that interrupts reads and writes at once.
var longAgo = time.Unix(1, 0)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// Read reads what has arrived, at most len(p) bytes. At the end of the other end's direction it returns io.EOF;
// see [Conn] for the other ends of a stream.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n, err := c.read(p)
	return n, c.wrap("read", err)
}

// WriteTo copies the stream to w until its end; io.Copy uses it.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := c.Read(*buffer)
		if n > 0 {
			wrote, err := w.Write((*buffer)[:n])
			total += int64(wrote)
			if err != nil {
				return total, err
			}
			if wrote < n {
				return total, io.ErrShortWrite
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// read is Read with readMu held.
func (c *Conn) read(p []byte) (int, error) {
	for {
		if err := c.readState(); err != nil {
			return 0, err
		}
		if c.readDeadline.expired() {
			return 0, os.ErrDeadlineExceeded
		}
		switch {
		case c.remaining > 0 && c.start < c.end:
			n := copy(p, c.buf[c.start:min(c.end, c.start+c.remaining)])
			c.start += n
			c.remaining -= n
			return n, nil
		case c.remaining > 0 && len(p) >= len(c.buf):
			n, err := c.raw.Read(p[:min(len(p), c.remaining)])
			c.remaining -= n
			if n > 0 {
				return n, nil
			}
			if err := c.readFailed(err); err != nil {
				return 0, err
			}
		case c.remaining == 0 && c.end-c.start >= frameHeader:
			c.takeHeader()
		default:
			if err := c.fill(); err != nil {
				return 0, err
			}
		}
	}
}

// fill reads at least one byte into the buffer.
func (c *Conn) fill() error {
	c.compact()
	n, err := c.raw.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return c.readFailed(err)
}

func (c *Conn) compact() {
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
}

// readFailed converts an error of the raw connection to the stream's; nil: check the state and retry.
func (c *Conn) readFailed(err error) error {
	switch {
	case err == nil:
		return nil
	case c.readState() != nil:
		return c.readState()
	case !broken(err):
		if c.readDeadline.expired() {
			return os.ErrDeadlineExceeded
		}
		return nil // the deadline has changed meanwhile
	}
	c.cut(rawFailure(err))
	return c.readState()
}

// takeHeader handles the header at the start of the buffer.
func (c *Conn) takeHeader() {
	kind, value, err := parseHeader(c.buf[c.start:])
	c.start += frameHeader
	if err == nil {
		err = c.order.next(kind)
	}
	switch {
	case err != nil:
		c.cut(err)
		_ = c.raw.Close()
	case kind == kindData:
		c.remaining = int(value)
	case kind == kindFin:
		c.endRead(io.EOF)
	case kind == kindReset:
		c.endRead(&StreamError{Code: ErrorCode(value)})
	case kind == kindStop && ErrorCode(value) == CodeComplete: // nothing is left to write
	case kind == kindStop:
		c.endWrite(&StreamError{Code: ErrorCode(value), Stop: true})
	}
}

// poll reads without waiting, so that a writer without a reader notices when the other end stops reading. The writer
// calls it, holding writeLock.
func (c *Conn) poll() {
	c.polled = time.Now()
	if !c.readMu.TryLock() {
		return // a reader is active and sees it
	}
	defer c.readMu.Unlock()
	for {
		ended := c.readState() != nil
		if ended && c.remaining > 0 { // discard it
			n := min(c.remaining, c.end-c.start)
			c.start += n
			c.remaining -= n
		}
		switch {
		case c.remaining == 0 && c.end-c.start >= frameHeader:
			c.takeHeader()
			continue
		case c.remaining > 0 && !ended:
			return
		}
		c.compact()
		n, err := tryRead(c.raw, c.buf[c.end:])
		c.end += n
		if err != nil {
			c.cut(rawFailure(err))
		}
		if n == 0 {
			return
		}
	}
}

// CloseRead stops reading: the other end's writes fail with code 0.
func (c *Conn) CloseRead() error { return c.Stop(0) }

// Stop is CloseRead with an application's code, below 0x10000.
func (c *Conn) Stop(code ErrorCode) error {
	if c.isClosing() {
		return c.wrap("stop", net.ErrClosed)
	}
	c.stop(code)
	return nil
}

func (c *Conn) stop(code ErrorCode) {
	if !c.stopReading() {
		return
	}
	c.pendingStop.Store(uint64(code) + 1)
	if c.tryLockWrite() {
		c.unlockWrite()
	} // otherwise the holder of the lock sends it
}

// stopReading makes reads fail and wakes a reader; false when reading had ended before.
func (c *Conn) stopReading() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended := c.readErr != nil
	if !ended {
		c.readErr = net.ErrClosed
	}
	_ = c.raw.SetReadDeadline(longAgo)
	return !ended
}

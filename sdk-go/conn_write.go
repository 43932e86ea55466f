package polypeer

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Write writes all of p, or returns an error. Bytes counted as written arrive unless the stream is cut. An empty write
// sends nothing and reports whether the other end still reads.
func (c *Conn) Write(p []byte) (total int, err error) {
	if err := c.lockWrite(); err != nil {
		return 0, c.wrap("write", err)
	}
	if len(p) == 0 {
		c.poll()
	}
	if err = c.mayWrite(); err == nil {
		for len(p) > 0 && err == nil {
			chunk := p[:min(len(p), maxData)]
			p = p[len(chunk):]
			outcome := sent
			if outcome, err = c.writeFrame(kindData, chunk, len(p) > 0); outcome != unsent {
				total += len(chunk)
			}
			if outcome == handedOn {
				return total, c.wrap("write", err)
			}
		}
	}
	c.unlockWrite()
	return total, c.wrap("write", err)
}

// ReadFrom copies r to the stream until its end, each piece as soon as it is read; io.Copy uses it.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	buffer := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buffer)
	for {
		n, err := r.Read(*buffer)
		if n > 0 {
			wrote, err := c.Write((*buffer)[:n])
			total += int64(wrote)
			if err != nil {
				return total, err
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

// CloseWrite ends the sending direction: the other end reads io.EOF after the last byte. Reading continues. It is no
// error if the other end has closed the stream already (stopped reading with code 0): it needs no more.
func (c *Conn) CloseWrite() error {
	if err := c.lockWrite(); err != nil {
		return c.wrap("close", err)
	}
	outcome, err := sent, c.mayWrite()
	if c.finWasSent() || needsNoMore(err) {
		err = nil
	} else if err == nil {
		if outcome, err = c.writeFrame(kindFin, nil, false); outcome != unsent {
			c.noteFin()
			err = nil
		} else if needsNoMore(err) {
			err = nil
		}
	}
	if outcome != handedOn {
		c.unlockWrite()
	}
	return c.wrap("close", err)
}

// needsNoMore reports whether an error is the other end's, which stopped reading although nothing failed.
func needsNoMore(err error) bool {
	var stopped *StreamError
	return errors.As(err, &stopped) && stopped.Stop && stopped.Code == 0
}

func (c *Conn) finWasSent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finSent
}

func (c *Conn) noteFin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finSent = true
	if c.writeErr == nil {
		c.writeErr = net.ErrClosed
	}
}

// Results of writing a frame.
const (
	sent     = iota
	unsent   // not written
	handedOn // partly written; the flusher writes the rest and owns writeLock until then
)

// writeFrame writes one frame, holding writeLock. A timeout or Close before its first byte leaves nothing written;
// after that, the flusher writes the rest, so that the other end never gets a partial frame. `more`: further frames of
// the same Write follow.
func (c *Conn) writeFrame(kind uint32, payload []byte, more bool) (outcome int, err error) {
	if time.Since(c.polled) >= pollEvery {
		c.poll()
	}
	header := c.header[:0]
	stop := c.pendingStop.Swap(0)
	if stop != 0 {
		header = c.header[:frameHeader]
		putHeader(header, kindStop, uint32(stop-1))
	}
	header = c.header[:len(header)+frameHeader]
	putHeader(header[len(header)-frameHeader:], kind, uint32(len(payload)))

	total, written := len(header)+len(payload), 0
	for err = c.mayWrite(); err == nil; err = c.mayWrite() {
		c.arm(false)
		n, err := c.writePieces(header, payload, written)
		if written += n; written == total {
			return sent, nil
		}
		if broken(err) {
			return unsent, c.writeFailed(err)
		}
		c.poll()
	}
	if c.isClosing() && (more || written == 0) {
		c.mu.Lock()
		c.cutShort = true
		c.mu.Unlock()
	}
	if written == 0 {
		c.pendingStop.CompareAndSwap(0, stop)
		return unsent, err
	}
	rest := make([]byte, 0, total-written)
	rest = append(rest, header[min(written, len(header)):]...)
	rest = append(rest, payload[max(written-len(header), 0):]...)
	go c.flush(rest)
	return handedOn, err
}

// writePieces writes header and payload from an offset, in one system call if possible.
func (c *Conn) writePieces(header, payload []byte, from int) (int, error) {
	if from >= len(header) {
		return c.raw.Write(payload[from-len(header):])
	}
	if len(payload) == 0 {
		return c.raw.Write(header[from:])
	}
	c.pieces = [2][]byte{header[from:], payload}
	buffers := net.Buffers(c.pieces[:])
	n, err := buffers.WriteTo(c.raw)
	c.pieces = [2][]byte{}
	return int(n), err
}

// flush writes the rest of a frame whose writer timed out, then releases the lock. It ends with the raw connection at
// the latest.
func (c *Conn) flush(rest []byte) {
	defer c.unlockWrite()
	for len(rest) > 0 {
		c.mu.Lock()
		c.armed = time.Now().Add(pollEvery)
		_ = c.raw.SetWriteDeadline(c.armed)
		c.mu.Unlock()
		n, err := c.raw.Write(rest)
		rest = rest[n:]
		if err != nil && broken(err) {
			_ = c.writeFailed(err)
			return
		}
		if err != nil {
			c.poll()
		}
	}
}

// mayWrite is the reason why no frame may be started now, or nil.
func (c *Conn) mayWrite() error {
	if err := c.writeState(); err != nil {
		return err
	}
	if c.isClosing() {
		return net.ErrClosed
	}
	if c.writeDeadline.expired() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// writeFailed records the end of the raw connection, preferably with the reason that netcore sent on it.
func (c *Conn) writeFailed(err error) error {
	c.poll()
	c.endWrite(rawFailure(err))
	return c.writeState()
}

// arm sets the raw connection's write deadline: the user's, but at most pollEvery ahead, so that a blocked writer can
// check whether the other end stopped reading.
func (c *Conn) arm(changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !changed && c.armed.Sub(now) > pollEvery/2 {
		return
	}
	c.armed = now.Add(pollEvery)
	if at, _ := c.writeDeadline.get(); !at.IsZero() && at.Before(c.armed) {
		c.armed = at
	}
	_ = c.raw.SetWriteDeadline(c.armed)
}

func (c *Conn) tryLockWrite() bool {
	select {
	case c.writeLock <- struct{}{}:
		return true
	default:
		return false
	}
}

// lockWrite waits for its turn to write, until the deadline or Close.
func (c *Conn) lockWrite() error {
	for {
		if c.tryLockWrite() {
			return nil
		}
		at, changed := c.writeDeadline.get()
		var expired <-chan time.Time
		if !at.IsZero() {
			timer := time.NewTimer(time.Until(at))
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case c.writeLock <- struct{}{}:
			return nil
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-c.closing:
			return net.ErrClosed
		case <-changed:
		}
	}
}

// unlockWrite releases the lock. A pending stop frame goes first: the flusher takes the lock over and sends it, so that
// the caller does not wait for a full connection.
func (c *Conn) unlockWrite() {
	for {
		if stop := c.pendingStop.Swap(0); stop != 0 {
			header := make([]byte, frameHeader)
			putHeader(header, kindStop, uint32(stop-1))
			go c.flush(header)
			return
		}
		<-c.writeLock
		if c.pendingStop.Load() == 0 || !c.tryLockWrite() {
			return
		}
	}
}

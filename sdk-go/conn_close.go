package polypeer

import (
	"net"
	"time"
)

// Close ends both directions of the stream and returns at once. What was written is still delivered, in the background
// and for five minutes at most; the other end reads io.EOF after it, and its writes fail from now on. [Node.Close]
// waits for the delivery up to 5 s. If Close interrupts a Write it resets the stream, so that a partial message is not
// mistaken for a whole one.
func (c *Conn) Close() error { return c.finish(false, 0) }

// Reset aborts both directions of the stream: the other end's Read and Write fail with a [*StreamError] of this code,
// an application's, below 0x10000. Written data may be lost.
func (c *Conn) Reset(code ErrorCode) error { return c.finish(true, code) }

func (c *Conn) finish(abort bool, code ErrorCode) error {
	first := false
	c.closeOnce.Do(func() {
		first = true
		close(c.closing)
	})
	if !first {
		return c.wrap("close", net.ErrClosed)
	}
	stop := c.stopReading()
	if c.tryLockWrite() {
		// No writer: send the last frames before returning, so that they are sent even if the process exits now.
		rest, wait := c.goodbye(abort, code, stop)
		rest = c.writeBy(rest, time.Now().Add(10*time.Millisecond))
		if len(rest) == 0 && !wait {
			c.release()
			return nil
		}
		go c.linger(rest, wait)
		return nil
	}
	c.mu.Lock()
	c.armed = longAgo // wakes the writer
	_ = c.raw.SetWriteDeadline(longAgo)
	c.mu.Unlock()
	go func() {
		patience := lingerTime
		if abort {
			patience = resetTime
		}
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case c.writeLock <- struct{}{}:
			c.linger(c.goodbye(abort, code, stop))
		case <-timer.C: // a frame is partly written and blocked: cut the stream
			c.release()
		}
	}()
	return nil
}

// goodbye is the frames that end the stream from this side, and whether to wait for the delivery of everything. The
// caller holds writeLock and never releases it, so that nothing is written after them.
func (c *Conn) goodbye(abort bool, code ErrorCode, stop bool) (frames []byte, wait bool) {
	put := func(kind uint32, code ErrorCode) {
		frames = append(frames, make([]byte, frameHeader)...)
		putHeader(frames[len(frames)-frameHeader:], kind, uint32(code))
	}
	if asked := c.pendingStop.Swap(0); asked != 0 {
		put(kindStop, ErrorCode(asked-1))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, stopped := c.writeErr.(*StreamError)
	switch {
	case abort:
		put(kindReset, code)
	case c.finSent:
		wait = !stopped
	case stopped: // what was written is discarded; netcore waits for an end of this direction
		put(kindFin, 0)
	case c.writeErr != nil: // the connection has ended
	case c.cutShort:
		put(kindReset, code)
	default:
		put(kindFin, 0)
		c.finSent, wait = true, true
	}
	if stop {
		put(kindStop, code)
	}
	return frames, wait
}

// linger writes the rest of the last frames and waits until netcore has delivered everything and closes the connection.
func (c *Conn) linger(rest []byte, wait bool) {
	defer c.release()
	until := time.Now().Add(lingerTime)
	if rest = c.writeBy(rest, until); len(rest) > 0 || !wait {
		return
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	_ = c.raw.SetReadDeadline(until)
	for {
		if n, err := c.raw.Read(c.buf); n == 0 && err != nil {
			return
		}
	}
}

// writeBy writes until a deadline and returns the rest.
func (c *Conn) writeBy(b []byte, until time.Time) []byte {
	if len(b) == 0 {
		return nil
	}
	_ = c.raw.SetWriteDeadline(until)
	n, err := c.raw.Write(b)
	if err != nil && broken(err) {
		return nil
	}
	return b[n:]
}

// release closes the raw connection.
func (c *Conn) release() {
	_ = c.raw.Close()
	c.node.removeConn(c)
}

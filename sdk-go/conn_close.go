package polypeer

import (
	"net"
	"time"
)

// Close ends the stream in both directions and returns at once. What was written still goes to the other end, which
// reads io.EOF after it; its own writes fail from now on. Delivery goes on in the background, for five minutes at
// most; [Node.Close] waits for it a little. A Write that Close interrupts makes it a reset, so that half a message
// never looks like a whole one.
func (c *Conn) Close() error { return c.finish(false, 0) }

// Reset gives up on the stream in both directions: the other end's Read and Write fail with a [*StreamError] of this
// code, which is the application's, below 0x10000. What was written before may be lost.
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
		// Nobody writes: say goodbye before returning, so that a process which exits right after has said it.
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
		case <-timer.C: // a frame is half written and nobody takes the rest: all that is left is to cut it
			c.release()
		}
	}()
	return nil
}

// goodbye is what ends the stream from this side, and whether to wait for the other end to have everything. The
// caller holds writeLock and never gives it back, so that nothing is written after it.
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
	case c.writeErr != nil: // nobody reads, or the connection is gone
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

// linger writes what is left of the goodbye, and waits until netcore has delivered everything, which it tells by
// closing.
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

// writeBy writes until a moment and returns what could not be written.
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

// release lets go of the raw connection.
func (c *Conn) release() {
	_ = c.raw.Close()
	c.node.removeConn(c)
}

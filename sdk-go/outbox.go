package polypeer

import (
	"net"
	"runtime"
	"sync"
)

const (
	// outLimit bounds the frames queued on a control session, in bytes; senders wait for room above it.
	outLimit = 1 << 20
	// outKept is the largest buffer kept for the next frames, in bytes.
	outKept = 256 << 10
)

// outbox is the frames that a control session is to send. Those of goroutines that run at the same time travel in one
// system call, which is one wake-up of netcore.
type outbox struct {
	conn net.Conn
	wake chan struct{} // tells the writer that frames are queued; holds one

	mu      sync.Mutex
	queued  []byte // frames; the first may be the rest of one
	spare   []byte // the buffer of the frames that are being written
	writing bool   // the writer was woken, and has not seen an empty queue since
	room    chan struct{}
}

func newOutbox(conn net.Conn) *outbox {
	return &outbox{conn: conn, wake: make(chan struct{}, 1)}
}

// put queues a frame. A frame that goes alone, since no other goroutine can have one, is written at once as far as that
// needs no waiting. When the queue is full nothing is queued, and `full` is closed once there is room.
func (o *outbox) put(m msgValue, alone bool) (full <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queued) >= outLimit {
		if o.room == nil {
			o.room = make(chan struct{})
		}
		return o.room, nil
	}
	frames, err := appendFrame(o.queued, m)
	o.queued = frames
	if err != nil || o.writing {
		return nil, err
	}
	if alone {
		n, _ := tryWrite(o.conn, o.queued) // the writer meets the same error
		o.queued = o.queued[:copy(o.queued, o.queued[n:])]
		if len(o.queued) == 0 {
			return nil, nil
		}
	}
	o.writing = true
	o.wake <- struct{}{}
	return nil, nil
}

// write writes what is queued until `done` is closed, or fails.
func (o *outbox) write(done <-chan struct{}) error {
	for {
		select {
		case <-o.wake:
		case <-done:
			return nil
		}
		runtime.Gosched() // to those that were woken together with the first sender
		for frames := o.take(); frames != nil; frames = o.take() {
			if _, err := o.conn.Write(frames); err != nil {
				return err
			}
		}
	}
}

// take is all that is queued, valid until the next call; nil when there is nothing.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queued) == 0 {
		o.writing = false
		return nil
	}
	frames := o.queued
	o.queued, o.spare = o.spare[:0], nil
	if cap(frames) <= outKept {
		o.spare = frames
	}
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return frames
}

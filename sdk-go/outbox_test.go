package polypeer

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// ping is the frame of a request.
func ping(id uint64) []byte {
	out, err := frame(msgClientFrameRequest{id, msgRequestPing{}})
	if err != nil {
		panic(err)
	}
	return out
}

// put queues a frame that must find room.
func put(t *testing.T, o *outbox, m msgValue, alone bool) {
	t.Helper()
	if full, err := o.put(m, alone); full != nil || err != nil {
		t.Fatalf("full %v, error %v", full != nil, err)
	}
}

func TestFramesQueuedMeanwhileTravelTogether(t *testing.T) {
	near, far := net.Pipe() // each Write is one Read, if that is large enough
	defer near.Close()
	o := newOutbox(near)
	for id := range uint64(3) {
		put(t, o, msgClientFrameRequest{id, msgRequestPing{}}, false)
	}
	done, ended := make(chan struct{}), make(chan error)
	go func() { ended <- o.write(done) }()
	got := make([]byte, 1024)
	n, err := far.Read(got)
	if want := bytes.Join([][]byte{ping(0), ping(1), ping(2)}, nil); err != nil || !bytes.Equal(got[:n], want) {
		t.Fatalf("%x, %v; want %x", got[:n], err, want)
	}
	close(done)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestLoneFrameIsWrittenByItsSender(t *testing.T) {
	near, far := socketPair(t)
	o := newOutbox(near) // nothing calls o.write
	put(t, o, msgClientFrameRequest{1, msgRequestPing{}}, true)
	got := make([]byte, len(ping(1)))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, ping(1)) {
		t.Fatalf("%x, %v", got, err)
	}
	if o.writing {
		t.Fatal("the writer was woken for nothing")
	}
}

func TestFrameThatDoesNotFitIsWrittenToItsEnd(t *testing.T) {
	near, far := socketPair(t)
	o := newOutbox(near)
	large := msgClientFrameAnswer{1, bytes.Repeat([]byte{7}, maxPayload)}
	var want []byte
	for !o.writing { // until the socket's buffer is full
		put(t, o, large, true)
		want, _ = appendFrame(want, large)
	}
	done := make(chan struct{})
	defer close(done)
	go o.write(done)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the frames arrived changed, or %v", err)
	}
}

func TestFullQueueMakesSendersWait(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	o := newOutbox(near)
	large := msgClientFrameAnswer{1, make([]byte, maxPayload)}
	for len(o.queued) < outLimit {
		put(t, o, large, false)
	}
	full, err := o.put(large, false)
	if full == nil || err != nil || len(o.queued) > outLimit+maxPayload+256 {
		t.Fatalf("%d bytes are queued, error %v", len(o.queued), err)
	}
	done := make(chan struct{})
	defer close(done)
	go o.write(done)
	if _, err := far.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	<-full
	put(t, o, large, false)
}

func TestInvalidFrameLeavesTheOthersWhole(t *testing.T) {
	near, _ := net.Pipe()
	o := newOutbox(near)
	put(t, o, msgClientFrameRequest{1, msgRequestPing{}}, false)
	if _, err := o.put(msgClientFrameRequest{2, msgRequestCall{msgTargetLocal{}, "no version", nil, 1}}, false); err == nil {
		t.Fatal("an invalid name was queued")
	}
	put(t, o, msgClientFrameRequest{3, msgRequestPing{}}, false)
	if got := o.take(); !bytes.Equal(got, append(ping(1), ping(3)...)) {
		t.Fatalf("%x", got)
	}
}

// socketPair is two connected Unix sockets.
func socketPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	folder, err := os.MkdirTemp("", "pp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if near, err = dialSocket(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	if far, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

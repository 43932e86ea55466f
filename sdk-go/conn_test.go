package polypeer

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestStreamCarriesBytesBothWaysAndEndsByHalves(t *testing.T) {
	a, b := pair(t)
	if b.Peer() == a.Peer() || a.Protocol() != "echo/1" || a.RemoteAddr().String() != a.Peer().String()+"/echo/1" {
		t.Fatalf("%v %v %v", a.Peer(), b.Peer(), a.RemoteAddr())
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	go func() {
		_, _ = a.Write(big)
		_ = a.CloseWrite()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, big) {
		t.Fatal(len(got), err)
	}
	go func() {
		_, _ = io.Copy(b, bytes.NewReader(big))
		_ = b.Close()
	}()
	if got, err = io.ReadAll(a); err != nil || !bytes.Equal(got, big) {
		t.Fatal(len(got), err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Fatal("write after CloseWrite:", err)
	}
}

func TestResetAndStopArriveWithTheirCodes(t *testing.T) {
	a, b := pair(t)
	if err := a.Reset(7); err != nil {
		t.Fatal(err)
	}
	var s *StreamError
	if _, err := b.Read(make([]byte, 1)); !errors.As(err, &s) || s.Code != 7 || s.Stop {
		t.Fatal(err)
	}
	if _, err := writeUntilError(b); !errors.As(err, &s) || s.Code != 7 || !s.Stop {
		t.Fatal(err)
	}
}

func TestOtherEndThatNeedsNoMoreIsNoFailure(t *testing.T) {
	a, b := pair(t)
	if _, err := a.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Fatal(string(got), err)
	}
	var s *StreamError
	if _, err := writeUntilError(a); !errors.As(err, &s) || s.Code != 0 || !s.Stop {
		t.Fatal(err)
	}
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeUntilError writes, within bounds, until it fails.
func writeUntilError(c net.Conn) (total int, err error) {
	for end := time.Now().Add(limit); time.Now().Before(end); {
		n, err := c.Write(make([]byte, 10_000))
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

func TestWriterNobodyReadsForLearnsOfAStop(t *testing.T) {
	a, b := pair(t)
	if err := b.Stop(9); err != nil {
		t.Fatal(err)
	}
	var s *StreamError
	if _, err := writeUntilError(a); !errors.As(err, &s) || s.Code != 9 || !s.Stop {
		t.Fatal(err)
	}
	// the other direction goes on
	go func() { _, _ = b.Write([]byte("still")); _ = b.CloseWrite() }()
	if got, err := io.ReadAll(a); string(got) != "still" || err != nil {
		t.Fatal(got, err)
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

func TestBlockedWriterIsStopped(t *testing.T) {
	a, b := pair(t)
	failed := make(chan error, 1)
	// What is in the way to one who stopped reading is dropped, so a write may still succeed; the next ones do not.
	go func() {
		_, err := a.Write(make([]byte, 64<<20))
		if err == nil {
			_, err = writeUntilError(a)
		}
		failed <- err
	}()
	if _, err := io.ReadFull(b, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	_ = b.Stop(3)
	var s *StreamError
	if err := <-failed; !errors.As(err, &s) || s.Code != 3 {
		t.Fatal(err)
	}
}

func TestCutStreamIsAnErrorNeverTheEnd(t *testing.T) {
	x, y, from, to := two(t)
	a, b := pairOf(t, from, to, y.id)
	if _, err := a.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(b, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	x.crash() // netcore of the writer dies: the reader's own lives on
	_, err := b.Read(make([]byte, 1))
	if !errors.Is(err, ErrConnectionLost) || errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, ErrConnectionLost) {
		t.Fatal(err)
	}
	if _, err := writeUntilError(a); !errors.Is(err, ErrConnectionLost) {
		t.Fatal(err)
	}
}

func TestCloseDuringAWriteIsAReset(t *testing.T) {
	a, b := pair(t)
	failed := make(chan error, 1)
	go func() { _, err := a.Write(make([]byte, 64<<20)); failed <- err }()
	if _, err := io.ReadFull(b, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	var s *StreamError
	if _, err := io.Copy(io.Discard, b); !errors.As(err, &s) {
		t.Fatal("half a message looks whole:", err)
	}
}

func TestEverythingWrittenBeforeCloseArrives(t *testing.T) {
	_, y, node, far := two(t)
	a, b := pairOf(t, node, far, y.id)
	message := bytes.Repeat([]byte("m"), 150_000)
	if _, err := a.Write(message); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, message) {
		t.Fatal(len(got), err)
	}
	_ = b.Close()
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	if len(node.conns) != 0 {
		t.Fatal("a closed stream is kept")
	}
}

func TestWriteDeadlineWithinAFrameLosesNothing(t *testing.T) {
	a, b := pair(t)
	message := make([]byte, 3<<20)
	for i := range message {
		message[i] = byte(i * 7)
	}
	_ = a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	n, err := a.Write(message)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(message) {
		t.Fatal(n, err)
	}
	if m, err := a.Write(message); m != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(m, err)
	}
	_ = a.SetWriteDeadline(time.Time{})
	go func() {
		_, _ = a.Write(message[n:])
		_ = a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, message) {
		t.Fatal(len(got), err)
	}
}

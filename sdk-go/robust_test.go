package polypeer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// rawServer answers the first frame of each connection by hand, for what a netcore must never do.
func rawServer(t *testing.T, serve func(net.Conn)) gateway {
	path := filepath.Join(t.TempDir(), "gateway")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return gateway{path: path}
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// stream is a Conn whose netcore is the test: the other end of a pipe of bytes.
func stream(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	far := make(chan net.Conn, 1)
	g := rawServer(t, func(conn net.Conn) { far <- conn })
	raw, err := g.connect(within(t))
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(&Node{conns: map[*Conn]struct{}{}}, raw)
	t.Cleanup(func() { _ = raw.Close() })
	return c, <-far
}

func TestGarbageOnAStreamIsMalformedNeverData(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"unknown kind":  {0, 0, 0, 4},
		"empty data":    {0, 0, 0, 0},
		"too much data": {1, 0, 4, 0},
		"valued end":    {1, 0, 0, 1},
		"data after":    {0, 0, 0, 1, 1, 0, 0, 0, 'x'},
	} {
		c, far := stream(t)
		_, _ = far.Write(bytes)
		_, err := c.Read(make([]byte, 10))
		if name == "data after" {
			if err != io.EOF {
				t.Fatal(name, err)
			}
			_, err = writeUntilError(c)
		}
		if !errors.Is(err, ErrMalformed) {
			t.Fatal(name, err)
		}
	}
}

func TestHalfAFrameThenTheEndIsConnectionLost(t *testing.T) {
	for _, sent := range [][]byte{{}, {5, 0}, {5, 0, 0, 0}, {5, 0, 0, 0, 'a', 'b'}} {
		c, far := stream(t)
		_, _ = far.Write(sent)
		_ = far.Close()
		got, err := io.ReadAll(c)
		if !errors.Is(err, ErrConnectionLost) || len(got) != max(0, len(sent)-4) {
			t.Fatal(sent, got, err)
		}
	}
}

func TestRestOfTheFirstBytesForOneWhoNeedsNoMoreKeepsItsAnswer(t *testing.T) {
	c, far := stream(t)
	_, _ = far.Write([]byte{0, 0, 0, kindStop, 2, 0, 0, kindData, 'o', 'k', 0, 0, 0, kindFin})
	if err := c.writeRest(within(t), make([]byte, maxFirst)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "ok" {
		t.Fatal(string(got), err)
	}
}

func TestRestOfTheFirstBytesFailsWithTheStreamAndItsContext(t *testing.T) {
	c, far := stream(t)
	_, _ = far.Write([]byte{7, 0, 0, kindStop})
	var s *StreamError
	if err := c.writeRest(within(t), make([]byte, maxFirst)); !errors.As(err, &s) || s.Code != 7 || !c.isClosing() {
		t.Fatal(err)
	}
	c, _ = stream(t)
	ctx, cancel := context.WithCancel(within(t))
	cancel() // what is written all the same belongs to a stream that is reset
	if err := c.writeRest(ctx, []byte("rest")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestGarbageInASessionEndsItWithAReason(t *testing.T) {
	for name, answer := range map[string][]byte{
		"oversized":      le32(maxFrame + 1),
		"unknown reply":  append(le32(4), le32(9)...),
		"trailing bytes": append(le32(23), append(make([]byte, 16), "123456\x00"...)...),
		"long list":      append(le32(100), append(append(le32(1), make([]byte, 40)...), bytes.Repeat([]byte{0xff}, 56)...)...),
	} {
		g := rawServer(t, func(conn net.Conn) { _, _ = conn.Write(answer) })
		if _, err := connect(within(t), g); !errors.Is(err, ErrMalformed) {
			t.Fatal(name, err)
		}
	}
}

func TestSilentGatewayIsGivenUpWithTheContext(t *testing.T) {
	g := rawServer(t, func(net.Conn) {})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, g); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := connect(within(t), gateway{path: "/nonexistent/gateway"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestUnknownEventsAndAnswersDoNotEndASession(t *testing.T) {
	n, node := one(t)
	for _, body := range [][]byte{append(le32(1), le32(99)...), append(append(le32(1), le32(77)...), "more"...)} {
		n.send(append(le32(uint32(len(body))), body...))
	}
	if err := node.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	if skipped := node.skipped.Load(); skipped != 2 {
		t.Fatal(skipped)
	}
}

// streamFrom announces a stream of another node.
func streamFrom(number uint64) fields {
	return fields{"stream": number, "origin": fields{"Peer": NodeID{2}.String()}, "protocol": "echo/1"}
}

func TestFullAcceptQueueTurnsStreamsDown(t *testing.T) {
	n, node := one(t)
	listen(t, node)
	for i := uint64(0); i <= maxUnclaimed; i++ {
		n.event("Stream", streamFrom(1000+i))
	}
	type refusal struct {
		Stream  uint64
		Failure struct{ Code ErrorCode }
	}
	var refused []refusal
	until(t, func() bool { refused = requests[refusal](n, "RefuseStream"); return len(refused) > 0 })
	if refused[0].Stream != 1000+maxUnclaimed || refused[0].Failure.Code != CodeRefused {
		t.Fatal(refused)
	}
}

func TestStreamGoneIsNotAccepted(t *testing.T) {
	n, node := one(t)
	ln := listen(t, node)
	n.event("Stream", streamFrom(5))
	n.event("StreamGone", fields{"stream": 5, "failure": fields{"code": CodeCancelled, "message": ""}})
	if err := node.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ln.AcceptContext(ctx); !errors.Is(err, context.Canceled) || len(ln.waiting) != 0 {
		t.Fatal(err)
	}
}

func TestSecondListenerOfOneProtocolIsRefused(t *testing.T) {
	_, node := one(t)
	first := listen(t, node)
	if _, err := node.Listen(within(t), "echo/1"); !errors.Is(err, ErrAlreadyServed) {
		t.Fatal(err)
	}
	_ = first.Close()
	if _, err := node.Listen(within(t), "echo/1"); err != nil {
		t.Fatal(err)
	}
}

func TestHTTPWithKeepAliveAndLargeBodies(t *testing.T) {
	_, y, node, far := two(t)
	ln, err := far.Listen(within(t), "http/1")
	if err != nil {
		t.Fatal(err)
	}
	const size = 100 << 20
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || (n != 0 && n != size) {
			http.Error(w, "short body", http.StatusBadRequest)
			return
		}
		if r.URL.Path == "/large" {
			_, _ = io.CopyN(w, zeros{}, size)
		}
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	dials := 0
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials++
		return node.Dial(ctx, y.id.String(), "http/1")
	}}}
	t.Cleanup(client.CloseIdleConnections)
	for i, path := range []string{"/", "/large", "/"} {
		var body io.Reader
		if i > 0 {
			body = io.LimitReader(zeros{}, size)
		}
		response, err := client.Post("http://peer"+path, "application/octet-stream", body)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 200 || (path == "/large") != (n == size) {
			t.Fatal(path, n, response.Status, err)
		}
	}
	if dials != 1 {
		t.Fatal("keep-alive did not keep the stream:", dials)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestNothingIsLeftBehind(t *testing.T) {
	x, y, from, to := two(t)
	pairOf(t, from, to, y.id) // what the tests themselves start is there now
	world := x.world
	before := sdkGoroutines()
	for i := 0; i < 20; i++ {
		func() {
			z, w := world.node(), world.node()
			from, to := z.connect(), w.connect()
			a, b := pairOf(t, from, to, w.id)
			go func() { _, _ = a.Write(make([]byte, 1<<20)); _ = a.Close() }()
			_, _ = io.Copy(io.Discard, b)
			_ = b.Close()
			_ = from.Close()
			_ = to.Close()
		}()
	}
	until(t, func() bool { return sdkGoroutines() <= before })
}

// sdkGoroutines counts goroutines that run the SDK's own code, the fakes' and the tests' left out.
func sdkGoroutines() (count int) {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "polypeer.(*Node)") || strings.Contains(stack, "polypeer.(*Conn)") || strings.Contains(stack, "polypeer.(*session)") {
			count++
		}
	}
	return count
}

func TestNodeIDReadsBackAndStrayBitsAreRefused(t *testing.T) {
	id := NodeID{0: 0xa7, 31: 0x01}
	if back, err := ParseNodeID(id.String()); err != nil || back != id || len(id.String()) != 52 {
		t.Fatal(back, err)
	}
	text := NodeID{}.String()
	for _, bad := range []string{"", text[:51], text[:51] + "b", strings.ToUpper(text), text + "y"} {
		if _, err := ParseNodeID(bad); err == nil {
			t.Fatal(bad)
		}
	}
}

func TestBackoffStartsAtOnceAndIsBounded(t *testing.T) {
	var b backoff
	if first := b.next(0); first != 0 {
		t.Fatal(first)
	}
	if second := b.next(0); second != backoffFirst {
		t.Fatal(second)
	}
	for i := 0; i < 100; i++ {
		if wait := b.next(0.5); wait > backoffMost || wait < backoffFirst {
			t.Fatal(i, wait)
		}
	}
	b.stood(stableAfter)
	if b.next(0) != 0 {
		t.Fatal("a stable session does not start anew")
	}
}

func TestFailureTextIsCutAtACharacter(t *testing.T) {
	f := newFailure(CodeRefused, strings.Repeat("é", 600)+"\xff")
	if len(f.message) > maxMessage || !strings.HasSuffix(f.message, "é") {
		t.Fatal(len(f.message))
	}
}

func TestFrameOverTheLimitIsNotSent(t *testing.T) {
	if _, err := frame(msgClientFrameAnswer{1, make([]byte, maxFrame)}); !errors.Is(err, ErrBadArgument) {
		t.Fatal(err)
	}
	out, err := frame(msgClientFrameCancel{1})
	if err != nil || binary.LittleEndian.Uint32(out) != uint32(len(out)-frameHeader) {
		t.Fatal(out, err)
	}
}

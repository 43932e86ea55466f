//go:build unix

package polypeer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"testing"
	"time"

	"polypeer"
	"polypeer/internal/netcoretest"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), netcoretest.Limit)
	t.Cleanup(cancel)
	return ctx
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(netcoretest.Limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what, "did not happen in time")
		}
	}
}

// pair is a stream between plugins of two nodes.
func pair(t *testing.T, from, to *polypeer.Node, ticket, protocol string) (dialed, accepted *polypeer.Conn) {
	t.Helper()
	ln, err := to.Listen(within(t), protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	got := make(chan *polypeer.Conn, 1)
	go func() {
		conn, err := ln.AcceptContext(within(t))
		if err != nil {
			t.Error(err)
		}
		got <- conn
	}()
	if dialed, err = from.Dial(within(t), ticket, protocol); err != nil {
		t.Fatal(err)
	}
	return dialed, <-got
}

// noise is bytes that are the same for the same seed.
func noise(seed int64, size int64) io.Reader {
	return io.LimitReader(rand.New(rand.NewSource(seed)), size)
}

func sum(r io.Reader) (n int64, digest [32]byte, err error) {
	h := sha256.New()
	n, err = io.Copy(h, r)
	return n, [32]byte(h.Sum(nil)), err
}

func TestRealStreamIsBitExactInBothDirectionsAtOnce(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	a, b := pair(t, x.Connect("one"), y.Connect("two"), y.Ticket(), "bulk/1")
	size := int64(300 << 20)
	if testing.Short() {
		size = 20 << 20
	}
	results := make(chan error, 4)
	for i, c := range []*polypeer.Conn{a, b} {
		go func() {
			if _, err := io.Copy(c, noise(int64(i), size)); err != nil {
				results <- fmt.Errorf("writing %d: %w", i, err)
				return
			}
			results <- c.CloseWrite()
		}()
		go func() {
			n, got, err := sum(c)
			if _, want, _ := sum(noise(int64(1-i), size)); err == nil && (n != size || got != want) {
				err = fmt.Errorf("%d bytes, not those that were sent", n)
			}
			results <- err
		}()
	}
	for i := 0; i < cap(results); i++ {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	_ = a.Close()
	_ = b.Close()
}

func TestRealHTTPWithKeepAliveAndLargeBodies(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "client"), netcoretest.Start(t, "server")
	client, server := x.Connect("client"), y.Connect("server")
	ln, err := server.Listen(within(t), "http/1")
	if err != nil {
		t.Fatal(err)
	}
	const size = 100 << 20
	_, want, _ := sum(noise(1, size))
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if _, got, err := sum(r.Body); err != nil || got != want {
				http.Error(w, fmt.Sprint("another body: ", err), http.StatusBadRequest)
				return
			}
		}
		if r.URL.Path == "/large" {
			_, _ = io.Copy(w, noise(1, size))
			return
		}
		fmt.Fprint(w, r.RemoteAddr)
	})}
	go func() { _ = web.Serve(ln) }()
	t.Cleanup(func() { _ = web.Close() })
	dials, ticket := 0, y.Ticket()
	browser := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials++
		return client.Dial(ctx, ticket, "http/1")
	}}}
	t.Cleanup(browser.CloseIdleConnections)
	for _, step := range []struct{ method, path string }{{"GET", "/"}, {"GET", "/large"}, {"POST", "/"}, {"POST", "/large"}, {"GET", "/"}} {
		var body io.Reader
		if step.method == "POST" {
			body = noise(1, size)
		}
		request, err := http.NewRequestWithContext(within(t), step.method, "http://peer"+step.path, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := browser.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text := &bytes.Buffer{}
		n, got, err := sum(io.TeeReader(response.Body, limited{text}))
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 200 {
			t.Fatal(step, n, response.Status, text, err)
		}
		if step.path == "/large" && got != want {
			t.Fatal(step, n, "another body")
		}
		if step.path == "/" && text.String() != x.Connect("client").ID().String()+"/http/1" && dials > 1 {
			t.Fatal(text)
		}
	}
	if dials != 1 {
		t.Fatal("keep-alive did not keep the stream:", dials)
	}
}

// limited keeps the first KiB.
type limited struct{ b *bytes.Buffer }

func (l limited) Write(p []byte) (int, error) {
	if l.b.Len() < 1024 {
		l.b.Write(p[:min(len(p), 1024)])
	}
	return len(p), nil
}

func TestRealRequestsLocalStreamsAndErrors(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "one", "other"), netcoretest.Start(t, "two")
	one, other, two := x.Connect("one"), x.Connect("other"), y.Connect("two")
	service, err := two.HandleRequests(within(t), "echo/1", func(_ context.Context, call *polypeer.Call) ([]byte, error) {
		if string(call.Payload) == "no" {
			return nil, &polypeer.Error{Code: 77, Message: "because"}
		}
		return append([]byte(call.Origin.String()+" "), call.Payload...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := one.Request(within(t), y.Ticket(), "echo/1", []byte("hi"))
	if err != nil || string(got) != one.ID().String()+" hi" {
		t.Fatal(string(got), err)
	}
	var e *polypeer.Error
	if _, err := one.Request(within(t), two.ID().String(), "echo/1", []byte("no")); !errors.As(err, &e) || e.Code != 77 {
		t.Fatal(err)
	}
	_ = service.Close()
	if _, err := one.Dial(within(t), two.ID().String(), "echo/1"); !errors.Is(err, polypeer.ErrNotServed) {
		t.Fatal(err)
	}
	if _, err := one.Dial(within(t), polypeer.NodeID{1}.String(), "echo/1"); !errors.Is(err, polypeer.ErrUnknownPeer) && !errors.Is(err, polypeer.ErrUnreachable) {
		t.Fatal(err)
	}
	// requests to a plain listener arrive as streams
	plain, err := two.Listen(within(t), "plain/1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := plain.Accept()
		if err != nil {
			return
		}
		asked, _ := io.ReadAll(conn)
		_, _ = conn.Write(bytes.ToUpper(asked))
		_ = conn.Close()
	}()
	if got, err = one.Request(within(t), two.ID().String(), "plain/1", []byte("loud")); err != nil || string(got) != "LOUD" {
		t.Fatal(string(got), err)
	}
	ln, err := other.ListenLocal(within(t), "inner/1")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := ln.AcceptContext(within(t))
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(conn, conn.Origin())
		_ = conn.Close()
	}()
	conn, err := one.DialLocal(within(t), "inner/1")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(conn); string(text) != "local:one" || err != nil {
		t.Fatal(string(text), err)
	}
	_ = conn.Close()
	peers, err := one.Peers(within(t))
	if err != nil || len(peers) != 1 || peers[0].Node != two.ID() {
		t.Fatal(peers, err)
	}
	info, err := one.Info(within(t))
	if err != nil || info.Node != one.ID() || info.Ticket != x.Ticket() {
		t.Fatal(info, err)
	}
}

func TestRealEndsOfStreams(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	one, two := x.Connect("one"), y.Connect("two")
	var s *polypeer.StreamError

	a, b := pair(t, one, two, y.Ticket(), "reset/1")
	_, _ = a.Write([]byte("half"))
	_ = a.Reset(42)
	if _, err := io.Copy(io.Discard, b); !errors.As(err, &s) || s.Code != 42 || s.Stop {
		t.Fatal(err)
	}
	_ = b.Close()

	a, b = pair(t, one, two, y.Ticket(), "stop/1")
	_ = b.Stop(43)
	if err := writeUntilError(a); !errors.As(err, &s) || s.Code != 43 || !s.Stop {
		t.Fatal(err)
	}
	go func() { _, _ = b.Write([]byte("the other way")); _ = b.Close() }()
	if got, err := io.ReadAll(a); string(got) != "the other way" || err != nil {
		t.Fatal(string(got), err)
	}
	_ = a.Close()

	// one who closes at once still delivers everything, to a reader that takes its time to begin
	a, b = pair(t, one, two, y.Ticket(), "late/1")
	_, want, _ := sum(noise(9, 3<<20))
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(a, noise(9, 3<<20))
		_ = a.Close()
		sent <- err
	}()
	n, got, err := sum(b)
	if err != nil || got != want {
		t.Fatal(n, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
}

func writeUntilError(c net.Conn) error {
	for end := time.Now().Add(netcoretest.Limit); time.Now().Before(end); {
		if _, err := c.Write(make([]byte, 100_000)); err != nil {
			return err
		}
	}
	return nil
}

func TestRealKillOfNetcoreUnderTraffic(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	one, two := x.Connect("one"), y.Connect("two")
	a, b := pair(t, one, two, y.Ticket(), "bulk/1")
	here, err := one.Listen(within(t), "here/1")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		conn, err := here.Accept() // waits across the restart
		if err == nil {
			_ = conn.Close()
		}
		accepted <- err
	}()
	written, read, far := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() { written <- writeUntilError(a) }()
	go func() { _, err := io.Copy(io.Discard, a); read <- err }()
	go func() { _, err := io.Copy(io.Discard, b); far <- err }()
	x.Kill()
	for name, result := range map[string]chan error{"writer": written, "reader": read} {
		if err := <-result; !errors.Is(err, polypeer.ErrConnectionLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x.Run()
	// the same node, without being told anything, listens and dials again
	until(t, "dialing in", func() bool {
		conn, err := two.Dial(within(t), x.Ticket(), "here/1")
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	service, err := two.HandleRequests(within(t), "again/1", func(_ context.Context, call *polypeer.Call) ([]byte, error) { return call.Payload, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	if got, err := one.Request(within(t), y.Ticket(), "again/1", []byte("again")); err != nil || string(got) != "again" {
		t.Error(string(got), err)
	}
	// the far end of the cut stream never takes it for the end
	if err := <-far; !errors.Is(err, polypeer.ErrConnectionLost) {
		t.Errorf("far reader: %v", err)
	}
}

func TestRealPeerKilledMidStreamIsAnError(t *testing.T) {
	t.Parallel()
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	one, two := x.Connect("one"), y.Connect("two")
	a, b := pair(t, one, two, y.Ticket(), "bulk/1")
	go func() { _ = writeUntilError(b) }()
	if _, err := io.CopyN(io.Discard, a, 1<<20); err != nil {
		t.Fatal(err)
	}
	y.Kill()
	if _, err := io.Copy(io.Discard, a); !errors.Is(err, polypeer.ErrConnectionLost) {
		t.Fatal(err)
	}
	if err := writeUntilError(a); !errors.Is(err, polypeer.ErrConnectionLost) {
		t.Fatal(err)
	}
}

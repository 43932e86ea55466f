package polypeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const limit = 20 * time.Second // of anything a test waits for

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// one is a node of a world of its own, with a plugin on it.
func one(t *testing.T) (*fakeNode, *Node) {
	t.Helper()
	n := newFakeNet(t).node()
	return n, n.connect()
}

// two is two nodes of one world, with a plugin on each.
func two(t *testing.T) (x, y *fakeNode, a, b *Node) {
	t.Helper()
	world := newFakeNet(t)
	x, y = world.node(), world.node()
	return x, y, x.connect(), y.connect()
}

// listen serves echo/1.
func listen(t *testing.T, n *Node) *Listener {
	t.Helper()
	ln, err := n.Listen(within(t), "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// pair is a stream between two nodes.
func pair(t *testing.T) (dialed, accepted *Conn) {
	t.Helper()
	_, y, a, b := two(t)
	return pairOf(t, a, b, y.id)
}

func pairOf(t *testing.T, from, to *Node, id NodeID) (dialed, accepted *Conn) {
	t.Helper()
	got := accept(t, listen(t, to))
	dialed, err := from.Dial(within(t), id.String(), "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	return dialed, <-got
}

// accept gives the next stream of a listener, or nil after a failure.
func accept(t *testing.T, ln *Listener) <-chan *Conn {
	got := make(chan *Conn, 1)
	go func() {
		c, err := ln.AcceptContext(within(t))
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	return got
}

func TestFirstBytesGoWithTheDialBeforeAllOthers(t *testing.T) {
	_, y, a, b := two(t)
	ln := listen(t, b)
	for _, size := range []int{5, maxFirst, 300_000} {
		got := accept(t, ln)
		first := bytes.Repeat([]byte{7}, size)
		c, err := a.DialWith(within(t), y.id.String(), "echo/1", first)
		if err != nil {
			t.Fatal(err)
		}
		there := <-got
		if _, err := c.Write([]byte("more")); err != nil || c.CloseWrite() != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(there)
		if err != nil || !bytes.Equal(all, append(first, "more"...)) {
			t.Fatal(size, len(all), err)
		}
		_, _ = c.Close(), there.Close()
	}
	if _, err := a.DialWith(within(t), y.id.String(), "nobody/1", []byte("x")); !errors.Is(err, ErrNotServed) {
		t.Fatal(err)
	}
}

func TestConnectOutsidePolypeerSaysSo(t *testing.T) {
	t.Setenv("POLYPEER_GATEWAY", "")
	t.Setenv("POLYPEER_TOKEN", "")
	if _, err := Connect(within(t)); !errors.Is(err, ErrNotAPlugin) {
		t.Fatal(err)
	}
	t.Setenv("POLYPEER_GATEWAY", "/nowhere")
	t.Setenv("POLYPEER_TOKEN", "12")
	if _, err := Connect(within(t)); err == nil || !strings.Contains(err.Error(), "64 hexadecimal") {
		t.Fatal(err)
	}
}

func TestWrongTokenIsRefusedAtOnce(t *testing.T) {
	n := newFakeNet(t).node()
	if _, err := connect(within(t), gateway{n.path, [32]byte{1}}); !errors.Is(err, ErrUnauthorised) {
		t.Fatal(err)
	}
}

func TestRefusedDialsSayWhy(t *testing.T) {
	x, y, node, _ := two(t)
	if _, err := node.Dial(within(t), NodeID{9}.String(), "echo/1"); !errors.Is(err, ErrUnknownPeer) {
		t.Fatal(err)
	}
	if _, err := node.Dial(within(t), y.id.String(), "echo/1"); !errors.Is(err, ErrNotServed) {
		t.Fatal(err)
	}
	if _, err := node.Dial(within(t), "nonsense", "echo/1"); !errors.Is(err, ErrBadArgument) {
		t.Fatal(err)
	}
	x.allow(granting(nil, nil))
	if _, err := node.Listen(within(t), "echo/1"); !errors.Is(err, ErrNotGranted) {
		t.Fatal(err)
	}
}

func TestDialRespectsItsContext(t *testing.T) {
	x, y, node, far := two(t)
	listen(t, far) // never accepts
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := node.Dial(ctx, y.id.String(), "echo/1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	x.crash()
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if _, err := node.Dial(ctx, y.id.String(), "echo/1"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestRequestsAreAnsweredDeclinedAndGivenUp(t *testing.T) {
	x, y, node, far := two(t)
	gaveUp := make(chan struct{})
	service, err := far.HandleRequests(within(t), "echo/1", func(ctx context.Context, call *Call) ([]byte, error) {
		switch string(call.Payload) {
		case "decline":
			return nil, &Error{Code: 12, Message: "no"}
		case "fail":
			return nil, fmt.Errorf("no such thing: %w", ErrUnreachable)
		case "large":
			return make([]byte, maxPayload+1), nil
		case "wait":
			<-ctx.Done()
			close(gaveUp)
			return nil, ctx.Err()
		}
		return append([]byte(call.Origin.String()+" "), call.Payload...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	to := y.id.String()
	got, err := node.Request(within(t), to, "echo/1", []byte("hi"))
	if err != nil || string(got) != x.id.String()+" hi" {
		t.Fatal(string(got), err)
	}
	var e *Error
	if _, err := node.Request(within(t), to, "echo/1", []byte("decline")); !errors.As(err, &e) || e.Code != 12 || e.Message != "no" {
		t.Fatal(err)
	}
	if _, err := node.Request(within(t), to, "echo/1", []byte("fail")); !errors.Is(err, ErrHandlerFailed) {
		t.Fatal(err)
	}
	if _, err := node.Request(within(t), to, "echo/1", []byte("large")); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	if _, err := node.Request(within(t), to, "echo/1", make([]byte, maxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := node.Request(ctx, to, "echo/1", []byte("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	<-gaveUp
	_ = service.Close()
	if _, err := node.Request(within(t), to, "echo/1", nil); !errors.Is(err, ErrNotServed) {
		t.Fatal(err)
	}
	<-service.Done()
}

func TestStreamNobodyAcceptsIsTurnedDownWhenTheListenerCloses(t *testing.T) {
	_, y, node, far := two(t)
	ln := listen(t, far)
	failed := make(chan error, 1)
	go func() { _, err := node.Dial(within(t), y.id.String(), "echo/1"); failed <- err }()
	until(t, func() bool { ln.mu.Lock(); defer ln.mu.Unlock(); return len(ln.waiting) == 1 })
	_ = ln.Close()
	if err := <-failed; !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// until polls for something that is about to happen.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen in time")
		}
	}
}

func TestRestartOfNetcoreIsInvisibleToListeners(t *testing.T) {
	x, y, node, far := two(t)
	ln := listen(t, far)
	if _, err := far.HandleRequests(within(t), "echo/1", func(_ context.Context, c *Call) ([]byte, error) { return c.Payload, nil }); err != nil {
		t.Fatal(err)
	}
	events, err := far.WatchPeers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	accepted := accept(t, ln)
	inFlight := make(chan error, 1)
	y.answer("Ping", "", nil)
	go func() { inFlight <- far.Ping(within(t)) }()
	until(t, func() bool {
		s, err := far.current(within(t))
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.pending) > 0
	})
	y.crash()
	if err := <-inFlight; !errors.Is(err, ErrConnectionLost) {
		t.Fatal(err)
	}
	y.restart()
	if event := <-events; event.Kind != PeerUp || event.Node != x.id {
		t.Fatal(event)
	}
	if event := <-events; event.Kind != PeersMissed {
		t.Fatal(event)
	}
	until(t, func() bool {
		c, err := node.Dial(within(t), y.id.String(), "echo/1")
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err == nil
	})
	if c := <-accepted; c == nil || c.Peer() != x.id {
		t.Fatal(c)
	}
	if got, err := node.Request(within(t), y.id.String(), "echo/1", []byte("again")); err != nil || string(got) != "again" {
		t.Fatal(got, err)
	}
	until(t, func() bool { return y.state().WatchesPeers })
	y.event("PeerUp", peerInfo(NodeID{5}, "Direct"))
	if event := <-events; event.Kind != PeerUp || event.Node != (NodeID{5}) {
		t.Fatal(event)
	}
}

func TestDialDuringARestartWaitsForIt(t *testing.T) {
	x, y, node, far := two(t)
	ln := listen(t, far)
	go func() { _, _ = ln.Accept() }()
	x.crash()
	dialed := make(chan error, 1)
	go func() { _, err := node.Dial(within(t), y.id.String(), "echo/1"); dialed <- err }()
	x.restart()
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
}

func TestSupersededSessionEndsForGood(t *testing.T) {
	n, first := one(t)
	ln := listen(t, first)
	second := n.connect()
	if _, err := ln.Accept(); !errors.Is(err, ErrSuperseded) {
		t.Fatal(err)
	}
	<-first.Done()
	if err := first.Err(); !errors.Is(err, ErrSuperseded) {
		t.Fatal(err)
	}
	if _, err := first.Peers(within(t)); !errors.Is(err, ErrSuperseded) {
		t.Fatal(err)
	}
	if err := second.Ping(within(t)); err != nil {
		t.Fatal(err)
	}
	if hellos := n.state().Hellos; hellos != 2 {
		t.Fatal("the superseded session fought back:", hellos)
	}
}

func TestHeartbeatsAreAnswered(t *testing.T) {
	n, _ := one(t)
	for answered := 1; answered <= 2; answered++ {
		n.heartbeat()
		until(t, func() bool { return n.state().Heartbeats == answered })
	}
}

func TestPluginThatIsBeingStoppedIsClosedAndDoesNotComeBack(t *testing.T) {
	n, node := one(t)
	ln := listen(t, node)
	n.close(CodeShuttingDown)
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	<-node.Done()
	if err := node.Err(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if hellos := n.state().Hellos; hellos != 1 {
		t.Fatal("it came back:", hellos)
	}
}

func TestLostGrantEndsItsListener(t *testing.T) {
	n, node := one(t)
	ln := listen(t, node)
	kept, err := node.ListenLocal(within(t), "echo/1")
	if err != nil {
		t.Fatal(err)
	}
	n.event("GrantsChanged", granting(nil, fields{"serve_local": []string{"ec*"}}))
	if _, err := ln.Accept(); !errors.Is(err, ErrNotGranted) {
		t.Fatal(err)
	}
	if g := node.Grants(); len(g.Serve) != 0 || kept.ended.Err() != nil {
		t.Fatal(g)
	}
}

// peerInfo is a peer with a round trip of 1.5 ms.
func peerInfo(id NodeID, path string) fields {
	return fields{"node": id.String(), "path": path, "rtt_us": 1500, "connected_ms": 2000, "protocols": []string{"chat/1"}}
}

func TestInfoAndPeersReadBack(t *testing.T) {
	n, node := one(t)
	info, err := node.Info(within(t))
	if err != nil || info.Node != node.ID() || info.Uptime != 5*time.Second || node.Plugin() != "tester" {
		t.Fatal(info, err)
	}
	n.answer("Peers", "", fields{"Peers": []fields{peerInfo(NodeID{1}, "Relayed")}})
	peers, err := node.Peers(within(t))
	if err != nil || len(peers) != 1 || peers[0].RTT != 1500*time.Microsecond || peers[0].Path != Relayed {
		t.Fatal(peers, err)
	}
	if err := node.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
}

func TestEachWatcherBeginsWithThePeersThatAreUp(t *testing.T) {
	x, y, _, far := two(t)
	first, err := far.WatchPeers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	second, err := far.WatchPeers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, events := range []<-chan PeerEvent{first, second} {
		if event := <-events; event.Kind != PeerUp || event.Node != x.id || event.Info.Node != x.id {
			t.Fatal(event)
		}
	}
	y.event("PeerUp", peerInfo(x.id, "Direct")) // known already: no event
	y.event("PeerDown", fields{"node": x.id.String(), "failure": fields{"code": CodeConnectionLost, "message": ""}})
	for _, events := range []<-chan PeerEvent{first, second} {
		if event := <-events; event.Kind != PeerDown || event.Node != x.id {
			t.Fatal(event)
		}
	}
}

func TestWatcherIsToldWhoWentWhileNetcoreWasAway(t *testing.T) {
	_, y, _, far := two(t)
	events, err := far.WatchPeers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if event := <-events; event.Kind != PeerUp {
		t.Fatal(event)
	}
	gone := NodeID{9}
	y.event("PeerUp", peerInfo(gone, "Direct"))
	if event := <-events; event.Kind != PeerUp || event.Node != gone {
		t.Fatal(event)
	}
	y.crash()
	y.restart()
	if event := <-events; event.Kind != PeersMissed {
		t.Fatal(event)
	}
	if event := <-events; event.Kind != PeerDown || event.Node != gone || !errors.Is(event.Err, ErrConnectionLost) {
		t.Fatal(event)
	}
}

func TestSlowWatcherIsToldThatItMissedEvents(t *testing.T) {
	n, node := one(t)
	events, err := node.WatchPeers(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3*watchQueue; i++ {
		n.event("PeerDown", fields{"node": NodeID{byte(i)}.String(), "failure": fields{"code": CodeConnectionLost, "message": ""}})
	}
	if err := node.Ping(within(t)); err != nil { // all of them were handled by then
		t.Fatal(err)
	}
	for i := 0; i < watchQueue; i++ {
		if event := <-events; event.Kind != PeerDown || !errors.Is(event.Err, ErrConnectionLost) {
			t.Fatal(i, event)
		}
	}
	if event := <-events; event.Kind != PeersMissed {
		t.Fatal(event)
	}
	_ = node.Close()
	if _, open := <-events; open {
		t.Fatal("the channel outlives the node")
	}
}

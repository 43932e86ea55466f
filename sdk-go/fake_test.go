package polypeer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeNet is a world of nodes that obey SPEC.md, in this process: what netcore does, without a network.
type fakeNet struct {
	t     *testing.T
	mu    sync.Mutex
	nodes map[NodeID]*fakeNode
	fakeTable
}

// fakeNode is one node with one plugin launch.
type fakeNode struct {
	world    *fakeNet
	id       NodeID
	path     string
	token    [32]byte
	listener *net.UnixListener

	mu        sync.Mutex
	grants    Grants
	down      bool
	up        chan struct{}
	conns     map[net.Conn]struct{}
	session   *fakeSession
	sessions  int
	unclaimed map[uint64]*fakeStream
	calls     map[uint64]func(msgResponse)
	next      uint64
	refused   chan msgRequestRefuseStream
	requests  chan msgRequest // every request, if somebody listens
	onHello   func() *msgFailure
	busy      string // a topic to which nobody can subscribe now
	reach     msgReach
	addresses string // what follows the node id in its ticket
}

type fakeSession struct {
	conn   net.Conn
	mu     sync.Mutex
	secret [32]byte
	serves map[listenKey]msgCallMode
	watch  bool
	fakeServices
}

type fakeStream struct {
	opener  net.Conn
	origin  Origin
	settled chan struct{} // claimed, refused or gone
	refusal msgFailure
	claimer net.Conn
}

func newFakeNet(t *testing.T) *fakeNet {
	return &fakeNet{t: t, nodes: map[NodeID]*fakeNode{}, fakeTable: newFakeTable()}
}

func (w *fakeNet) node() *fakeNode {
	n := &fakeNode{world: w, path: filepath.Join(w.t.TempDir(), "gateway"), grants: Grants{
		Serve: []string{"*"}, Dial: []string{"*"}, ServeLocal: []string{"*"}, AnyPeer: true,
		Topics: []string{"*"}, DHT: []string{"*"},
	}}
	n.conns, n.unclaimed, n.calls = map[net.Conn]struct{}{}, map[uint64]*fakeStream{}, map[uint64]func(msgResponse){}
	n.refused = make(chan msgRequestRefuseStream, 16)
	_, _ = rand.Read(n.id[:])
	_, _ = rand.Read(n.token[:])
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: n.path, Net: "unix"})
	if err != nil {
		w.t.Fatal(err)
	}
	n.listener = listener
	w.mu.Lock()
	w.nodes[n.id] = n
	w.mu.Unlock()
	go n.accept()
	w.t.Cleanup(func() { _ = listener.Close(); n.crash(); n.restart() })
	return n
}

func (n *fakeNode) connect() *Node {
	n.world.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, err := connect(ctx, gateway{n.path, n.token})
	if err != nil {
		n.world.t.Fatal(err)
	}
	n.world.t.Cleanup(func() { _ = node.Close() })
	return node
}

func (n *fakeNode) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		go n.serve(conn)
	}
}

// crash is kill -9: every connection is cut. The listening socket stays, as the supervisor keeps it.
func (n *fakeNode) crash() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.down {
		n.down, n.up = true, make(chan struct{})
	}
	for conn := range n.conns {
		_ = conn.Close()
	}
	n.session = nil
	n.unclaimed = map[uint64]*fakeStream{}
}

func (n *fakeNode) restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		n.down = false
		close(n.up)
	}
}

func (n *fakeNode) serve(conn net.Conn) {
	n.mu.Lock()
	down, up := n.down, n.up
	n.mu.Unlock()
	if down {
		<-up // it waits in the backlog
	}
	n.mu.Lock()
	n.conns[conn] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.conns, conn)
		n.mu.Unlock()
		_ = conn.Close()
	}()
	body, err := readFrame(conn, nil)
	if err != nil {
		return
	}
	opening, err := decodeMsgOpening(body)
	if err != nil {
		n.refuse(conn, newFailure(CodeMalformed, err.Error()))
		return
	}
	switch opening := opening.(type) {
	case msgOpeningHello:
		n.control(conn, opening)
	case msgOpeningOpen:
		n.open(conn, opening)
	case msgOpeningAccept:
		n.claim(conn, opening)
	}
}

func put(conn net.Conn, m msgValue) {
	out, err := frame(m)
	if err == nil {
		_, _ = conn.Write(out)
	}
}

func (n *fakeNode) refuse(conn net.Conn, f msgFailure) { put(conn, msgOpeningReplyRefused{f}) }

func (s *fakeSession) send(m msgValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	put(s.conn, m)
}

func (n *fakeNode) control(conn net.Conn, hello msgOpeningHello) {
	n.mu.Lock()
	if n.onHello != nil {
		if f := n.onHello(); f != nil {
			n.mu.Unlock()
			n.refuse(conn, *f)
			return
		}
	}
	if hello.token != n.token {
		n.mu.Unlock()
		n.refuse(conn, newFailure(CodeUnauthorised, "wrong token"))
		return
	}
	s := &fakeSession{conn: conn, serves: map[listenKey]msgCallMode{}, fakeServices: newFakeServices()}
	_, _ = rand.Read(s.secret[:])
	old := n.session
	n.session = s
	n.sessions++
	n.mu.Unlock()
	if old != nil {
		old.send(msgServerFrameEvent{msgEventClosing{newFailure(CodeSuperseded, "")}})
		_ = old.conn.Close()
	}
	s.send(msgOpeningReplyWelcome{msgWelcome{1, n.id, "tester", n.grants.wire(), s.secret}})
	for {
		body, err := readFrame(conn, nil)
		if err != nil {
			return
		}
		m, err := decodeMsgClientFrame(body)
		if err != nil {
			s.send(msgServerFrameEvent{msgEventClosing{newFailure(CodeMalformed, err.Error())}})
			return
		}
		n.frame(s, m)
	}
}

func (n *fakeNode) frame(s *fakeSession, m msgValue) {
	switch m := m.(type) {
	case msgClientFrameRequest:
		if n.requests != nil {
			n.requests <- m.request
		}
		go func() {
			if response := n.request(s, m.request); response != nil {
				s.send(msgServerFrameResponse{m.id, response})
			}
		}()
	case msgClientFrameAnswer:
		n.answered(m.call, msgResponseReply{m.payload})
	case msgClientFrameDecline:
		n.answered(m.call, msgResponseFailed{m.failure})
	}
}

func (n *fakeNode) answered(call uint64, response msgResponse) {
	n.mu.Lock()
	answer := n.calls[call]
	delete(n.calls, call)
	n.mu.Unlock()
	if answer != nil {
		answer(response)
	}
}

func (n *fakeNode) request(s *fakeSession, request msgRequest) msgResponse {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch request := request.(type) {
	case msgRequestListen:
		if !n.grants.covers(listenKey{request.protocol, request.scope}) {
			return msgResponseFailed{newFailure(CodeNotGranted, request.protocol)}
		}
		s.serves[listenKey{request.protocol, request.scope}] = request.calls
	case msgRequestUnlisten:
		delete(s.serves, listenKey{request.protocol, request.scope})
	case msgRequestRefuseStream:
		if stream := n.unclaimed[request.stream]; stream != nil {
			delete(n.unclaimed, request.stream)
			stream.refusal = request.failure
			close(stream.settled)
		}
		select {
		case n.refused <- request:
		default:
		}
	case msgRequestCall:
		return n.call(request)
	case msgRequestPeers:
		return msgResponsePeers{[]msgPeerInfo{{node: NodeID{1}, path: 1, rttUS: 1500, connectedMS: 2000, protocols: []string{"chat/1"}}}}
	case msgRequestNode:
		return msgResponseNode{msgNodeInfo{n.id, "polypeer:" + n.id.String(), "0.1.0", 5000}}
	case msgRequestWatchPeers:
		s.watch = request.on
	case msgRequestPing: // never answered when the protocol of the test says so
		if n.grants.AnyPeer {
			return msgResponseDone{}
		}
		return nil
	default:
		return n.service(s, request)
	}
	return msgResponseDone{}
}

// target is the node and session a target means, and how the opener appears there; n.mu is held.
func (n *fakeNode) target(t msgTarget) (*fakeNode, Origin, listenKey) {
	if t == (msgTargetLocal{}) {
		return n, Origin{Plugin: "operator"}, listenKey{scope: msgScopeLocal}
	}
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	return n.world.nodes[targetAddr(t, "").Origin.Peer], Origin{Peer: n.id}, listenKey{scope: msgScopePeers}
}

func (n *fakeNode) call(request msgRequestCall) msgResponse {
	other, origin, key := n.target(request.target)
	if other == nil {
		return msgResponseFailed{newFailure(CodeUnknownPeer, "")}
	}
	key.protocol = request.protocol
	answer := make(chan msgResponse, 1)
	mine := other != n
	if mine {
		other.mu.Lock()
	}
	other.next++
	id := other.next
	other.calls[id] = func(m msgResponse) { answer <- m }
	session := other.session
	if mine {
		other.mu.Unlock()
	}
	if session == nil || session.serves[key] != msgCallModeEvents {
		return msgResponseFailed{newFailure(CodeNotServed, request.protocol)}
	}
	session.send(msgServerFrameEvent{msgEventCall{id, origin.wire(), request.protocol, request.payload}})
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case m := <-answer:
		return m
	case <-time.After(time.Duration(request.timeoutMS) * time.Millisecond):
		session.send(msgServerFrameEvent{msgEventCallGone{id}})
		return msgResponseFailed{newFailure(CodeTimedOut, "")}
	}
}

func (n *fakeNode) open(conn net.Conn, opening msgOpeningOpen) {
	n.mu.Lock()
	if n.session == nil || n.session.secret != opening.secret {
		n.mu.Unlock()
		n.refuse(conn, newFailure(CodeUnauthorised, "old secret"))
		return
	}
	other, origin, key := n.target(opening.target)
	n.mu.Unlock()
	key.protocol = opening.protocol
	if other == nil {
		n.refuse(conn, newFailure(CodeUnknownPeer, "nobody knows it"))
		return
	}
	stream := &fakeStream{opener: conn, origin: origin, settled: make(chan struct{})}
	other.mu.Lock()
	session := other.session
	served := false
	if session != nil {
		_, served = session.serves[key]
	}
	if !served {
		other.mu.Unlock()
		n.refuse(conn, newFailure(CodeNotServed, opening.protocol))
		return
	}
	other.next++
	id := other.next
	other.unclaimed[id] = stream
	other.mu.Unlock()
	session.send(msgServerFrameEvent{msgEventStream{id, origin.wire(), opening.protocol}})
	select {
	case <-stream.settled:
	case <-time.After(10 * time.Second):
		n.refuse(conn, newFailure(CodeTimedOut, "not claimed"))
		return
	}
	if stream.claimer == nil {
		n.refuse(conn, stream.refusal)
		return
	}
	far := Origin{Peer: other.id}
	if origin.Local() {
		far = Origin{Plugin: "tester"}
	}
	put(conn, msgOpeningReplyOpened{far.wire(), opening.protocol})
	put(stream.claimer, msgOpeningReplyOpened{origin.wire(), opening.protocol})
	splice(conn, stream.claimer)
}

func (n *fakeNode) claim(conn net.Conn, opening msgOpeningAccept) {
	n.mu.Lock()
	stream := n.unclaimed[opening.stream]
	good := n.session != nil && n.session.secret == opening.secret
	if good {
		delete(n.unclaimed, opening.stream)
	}
	n.mu.Unlock()
	switch {
	case !good:
		n.refuse(conn, newFailure(CodeUnauthorised, ""))
	case stream == nil:
		n.refuse(conn, newFailure(CodeNoSuchStream, ""))
	default:
		stream.claimer = conn
		ended := make(chan struct{})
		spliced.Store(conn, ended)
		close(stream.settled)
		<-ended
	}
}

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

func (o Origin) wire() msgOrigin {
	if o.Local() {
		return msgOriginLocal{o.Plugin}
	}
	return msgOriginPeer{o.Peer}
}

func (g Grants) wire() msgGrants {
	var peers msgPeerScope = msgPeerScopeAny{}
	if !g.AnyPeer {
		peers = msgPeerScopeList{}
	}
	return msgGrants{serve: g.Serve, dial: g.Dial, serveLocal: g.ServeLocal, peers: peers, topics: g.Topics, dht: g.DHT}
}

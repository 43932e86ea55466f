package polypeer

import (
	"context"
	"time"
)

// Path is the path of packets to a peer.
type Path uint32

// The kinds of path.
const (
	Direct  Path = iota // straight to its address
	Relayed             // through another peer
)

// String is "direct" or "relayed".
func (p Path) String() string {
	if p == Direct {
		return "direct"
	}
	return "relayed"
}

// PeerInfo is a connected peer.
type PeerInfo struct {
	Node      NodeID
	Path      Path
	RTT       time.Duration // smoothed round trip
	Connected time.Duration // age of the connection
	Protocols []string      // protocols the peer claims to serve
}

// NodeInfo is this node.
type NodeInfo struct {
	Node    NodeID
	Ticket  string // lets a stranger dial this node
	Version string // of the network core, semver
	Uptime  time.Duration
}

func (p msgPeerInfo) info() PeerInfo {
	return PeerInfo{
		Node: p.node, Path: Path(p.path), Protocols: p.protocols,
		RTT: time.Duration(p.rttUS) * time.Microsecond, Connected: time.Duration(p.connectedMS) * time.Millisecond,
	}
}

// Peers is the connected peers that the grants let this plugin see.
func (n *Node) Peers(ctx context.Context) ([]PeerInfo, error) {
	response, err := n.askBounded(ctx, msgRequestPeers{})
	if err != nil {
		return nil, err
	}
	answer, ok := response.(msgResponsePeers)
	if !ok {
		return nil, errUnexpected
	}
	peers := make([]PeerInfo, 0, len(answer.value))
	for _, peer := range answer.value {
		peers = append(peers, peer.info())
	}
	return peers, nil
}

// Info describes this node, its ticket included.
func (n *Node) Info(ctx context.Context) (NodeInfo, error) {
	response, err := n.askBounded(ctx, msgRequestNode{})
	if err != nil {
		return NodeInfo{}, err
	}
	answer, ok := response.(msgResponseNode)
	if !ok {
		return NodeInfo{}, errUnexpected
	}
	return NodeInfo{
		Node: answer.value.node, Ticket: answer.value.ticket, Version: answer.value.version,
		Uptime: time.Duration(answer.value.uptimeMS) * time.Millisecond,
	}, nil
}

// Ready reports that the plugin is ready (`health.ready = "notify"`).
func (n *Node) Ready(ctx context.Context) error {
	_, err := n.askBounded(ctx, msgRequestReady{})
	return err
}

// Ping checks that the network core answers.
func (n *Node) Ping(ctx context.Context) error {
	_, err := n.askBounded(ctx, msgRequestPing{})
	return err
}

func (n *Node) askBounded(ctx context.Context, request msgRequest) (msgResponse, error) {
	ctx, cancel, _ := withDeadline(ctx)
	defer cancel()
	return n.ask(ctx, request)
}

// PeerEventKind is the kind of a [PeerEvent].
type PeerEventKind int

// The kinds of [PeerEvent].
const (
	PeerUp      PeerEventKind = iota // a peer connected
	PeerDown                         // a peer disconnected
	PeersMissed                      // events were lost (netcore restarted, or the reader was too slow): call Peers again
)

// PeerEvent is a change among the connected peers.
type PeerEvent struct {
	Kind PeerEventKind
	Node NodeID   // of PeerUp and PeerDown
	Info PeerInfo // of PeerUp
	Err  error    // of PeerDown: why
}

// WatchPeers sends a PeerUp for each connected peer, then the changes, until ctx ends; then, or when the node has no
// more sessions, the channel is closed. After a restart of netcore it sends the differences. At most 64 events are
// queued; a slow reader gets one PeersMissed for those it lost.
func (n *Node) WatchPeers(ctx context.Context) (<-chan PeerEvent, error) {
	return watch(n, ctx, n.watchers, PeerEvent{Kind: PeersMissed}, n.peersNow, func(ctx context.Context) error {
		ctx, cancel, _ := withDeadline(ctx)
		defer cancel()
		s, err := n.current(ctx)
		if err != nil {
			return err
		}
		return n.syncPeers(ctx, s)
	})
}

// upPeer is a connected peer as netcore last reported it.
type upPeer struct {
	info  PeerInfo
	round uint64 // of the watch in which it was reported
}

// peersNow is the events that a watcher begins with. n.mu is held.
func (n *Node) peersNow() []PeerEvent {
	events := make([]PeerEvent, 0, len(n.up))
	for node, peer := range n.up {
		events = append(events, PeerEvent{Kind: PeerUp, Node: node, Info: peer.info})
	}
	return events
}

// syncPeers turns the watch on in a session. Netcore reports the connected peers before it answers; those known before
// that it does not report are gone.
func (n *Node) syncPeers(ctx context.Context, s *session) error {
	n.mu.Lock()
	n.round++
	round := n.round
	n.mu.Unlock()
	if _, err := s.ask(ctx, msgRequestWatchPeers{true}); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, peer := range n.up {
		if peer.round < round {
			n.peerDown(node, lost("the peer was gone when the network core was back"))
		}
	}
	return nil
}

// onPeerUp records a connected peer, and tells the watchers if that is new.
func (n *Node) onPeerUp(info PeerInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := n.up[info.Node]
	n.up[info.Node] = upPeer{info, n.round}
	if !known {
		for w := range n.watchers {
			w.add(PeerEvent{Kind: PeerUp, Node: info.Node, Info: info})
		}
	}
}

// peerDown records that a peer is not connected, and tells the watchers. n.mu is held.
func (n *Node) peerDown(node NodeID, err error) {
	delete(n.up, node)
	for w := range n.watchers {
		w.add(PeerEvent{Kind: PeerDown, Node: node, Err: err})
	}
}

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

// WatchPeers sends the changes from now on, until ctx ends; then, or when the node has no more sessions, the channel is
// closed. At most 64 events are queued; a slow reader gets one PeersMissed for those it lost.
func (n *Node) WatchPeers(ctx context.Context) (<-chan PeerEvent, error) {
	return watch(n, ctx, n.watchers, PeerEvent{Kind: PeersMissed}, msgRequestWatchPeers{true}, nil)
}

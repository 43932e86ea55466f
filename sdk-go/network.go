package polypeer

import (
	"context"
	"slices"
)

// Reach is how a node is reached from the internet.
type Reach uint32

// The kinds of reach.
const (
	ReachUnknown Reach = iota // not found out yet
	ReachPublic               // peers have dialed an address of it back
	ReachPrivate              // peers tried to, and could not
)

// String is "unknown", "public" or "private".
func (r Reach) String() string {
	switch r {
	case ReachPublic:
		return "public"
	case ReachPrivate:
		return "private"
	}
	return "unknown"
}

// NetworkEventKind is what changed.
type NetworkEventKind int

// The kinds of [NetworkEvent].
const (
	PathChanged      NetworkEventKind = iota // packets to a peer travel another way, or to another address of it
	ReachChanged                             // this node is reached otherwise
	AddressesChanged                         // this node has other addresses
	NetworkMissed                            // events were lost (netcore restarted, or nobody read)
)

// NetworkEvent is a change of the network.
type NetworkEvent struct {
	Kind   NetworkEventKind
	Node   NodeID // of PathChanged: the peer
	Path   Path   // of PathChanged
	Reach  Reach  // of ReachChanged
	Ticket string // of AddressesChanged: this node's
}

// WatchNetwork gives the reach and the addresses as they are and the changes from now on, until ctx ends; then, or when the
// node has no session any more, the channel is closed. What became different while netcore was away is told, too. At most
// 64 events wait; a reader that falls behind gets one NetworkMissed for those it lost.
func (n *Node) WatchNetwork(ctx context.Context) (<-chan NetworkEvent, error) {
	return watch(n, ctx, n.networkWatchers, NetworkEvent{Kind: NetworkMissed}, msgRequestWatchNetwork{true}, &n.networkNow)
}

// onNetwork tells the watchers, unless the network is as before: netcore says how it is whenever it is asked to watch.
func (n *Node) onNetwork(event NetworkEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if event.Kind == ReachChanged || event.Kind == AddressesChanged {
		at := slices.IndexFunc(n.networkNow, func(known NetworkEvent) bool { return known.Kind == event.Kind })
		switch {
		case at < 0:
			n.networkNow = append(n.networkNow, event)
		case n.networkNow[at] == event:
			return
		default:
			n.networkNow[at] = event
		}
	}
	for w := range n.networkWatchers {
		w.add(event)
	}
}

func networkEvent(m msgNetworkChange) NetworkEvent {
	switch m := m.(type) {
	case msgNetworkChangePath:
		return NetworkEvent{Kind: PathChanged, Node: m.node, Path: Path(m.path)}
	case msgNetworkChangeReach:
		return NetworkEvent{Kind: ReachChanged, Reach: Reach(m.value)}
	case msgNetworkChangeAddresses:
		return NetworkEvent{Kind: AddressesChanged, Ticket: m.value}
	}
	return NetworkEvent{Kind: NetworkMissed}
}

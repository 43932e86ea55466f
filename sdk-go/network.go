package polypeer

import (
	"context"
	"slices"
)

// Reach is a node's reachability from the internet.
type Reach uint32

// The kinds of reach.
const (
	ReachUnknown Reach = iota // not determined yet
	ReachPublic               // peers have dialed back one of its addresses
	ReachPrivate              // peers tried to dial back and failed
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

// NetworkEventKind is the kind of a [NetworkEvent].
type NetworkEventKind int

// The kinds of [NetworkEvent].
const (
	PathChanged      NetworkEventKind = iota // the path to a peer changed: direct or relayed, or another address
	ReachChanged                             // this node's reachability changed
	AddressesChanged                         // this node's addresses changed
	NetworkMissed                            // events were lost: netcore restarted, or the reader was too slow
)

// NetworkEvent is a change of the network.
type NetworkEvent struct {
	Kind   NetworkEventKind
	Node   NodeID // of PathChanged: the peer
	Path   Path   // of PathChanged
	Reach  Reach  // of ReachChanged
	Ticket string // of AddressesChanged: this node's
}

// WatchNetwork sends the current reach and addresses, then the changes, until ctx ends; then, or when the node has no
// more sessions, the channel is closed. After a restart of netcore it sends the differences. At most 64 events are
// queued; a slow reader gets one NetworkMissed for those it lost.
func (n *Node) WatchNetwork(ctx context.Context) (<-chan NetworkEvent, error) {
	now := func() []NetworkEvent { return n.networkNow }
	return watch(n, ctx, n.networkWatchers, NetworkEvent{Kind: NetworkMissed}, now, func(ctx context.Context) error {
		_, err := n.askBounded(ctx, msgRequestWatchNetwork{true})
		return err
	})
}

// onNetwork sends an event to the watchers, unless nothing changed: netcore sends the current state at each start of
// the watch.
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

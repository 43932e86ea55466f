package polypeer

import (
	"strings"
	"unicode/utf8"
)

// Origin is the other end of a stream or call: a peer, or a plugin of this node.
type Origin struct {
	Peer   NodeID // zero when the other end is a plugin of this node
	Plugin string // set when the other end is a plugin of this node; the operator's commands are "operator"
}

// Local reports whether the other end is a plugin of this node.
func (o Origin) Local() bool { return o.Plugin != "" }

// String is the peer's node id, or `local:` and the plugin's name.
func (o Origin) String() string {
	if o.Local() {
		return "local:" + o.Plugin
	}
	return o.Peer.String()
}

func originOf(m msgOrigin) Origin {
	switch m := m.(type) {
	case msgOriginPeer:
		return Origin{Peer: m.value}
	case msgOriginLocal:
		return Origin{Plugin: m.value}
	}
	return Origin{}
}

// scope is the scope of listeners for the origin's streams and calls.
func (o Origin) scope() msgScope {
	if o.Local() {
		return msgScopeLocal
	}
	return msgScopePeers
}

// Grants is what the operator allows this plugin; everything else is denied. Protocols, topics and names are
// patterns: `chat/1`, `chat/*` or `*`.
type Grants struct {
	Serve      []string // protocols it may serve to peers
	Dial       []string // protocols it may open
	ServeLocal []string // protocols it may serve to plugins of this node and the operator
	AnyPeer    bool     // it may deal with every peer
	Peers      []NodeID // otherwise with these
	Topics     []string // gossip topics
	DHT        []string // names of DHT records
	Routes     []string // key-based routing names
}

func grantsOf(m msgGrants) Grants {
	g := Grants{
		Serve: m.serve, Dial: m.dial, ServeLocal: m.serveLocal, Topics: m.topics, DHT: m.dht, Routes: m.routes,
	}
	switch peers := m.peers.(type) {
	case msgPeerScopeAny:
		g.AnyPeer = true
	case msgPeerScopeList:
		for _, peer := range peers.value {
			g.Peers = append(g.Peers, peer)
		}
	}
	return g
}

// covers reports whether the grants allow a listener.
func (g Grants) covers(key listenKey) bool {
	patterns := g.Serve
	if key.scope == msgScopeLocal {
		patterns = g.ServeLocal
	}
	return allowsAny(patterns, key.protocol)
}

func (f msgFailure) error() error { return &Error{Code: ErrorCode(f.code), Message: f.message} }

// newFailure cuts the text to its limit, at a character boundary.
func newFailure(code ErrorCode, message string) msgFailure {
	message = strings.ToValidUTF8(message, "?")
	if len(message) > maxMessage {
		cut := maxMessage
		for !utf8.RuneStart(message[cut]) {
			cut--
		}
		message = message[:cut]
	}
	return msgFailure{uint32(code), message}
}

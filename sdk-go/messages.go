package polypeer

import (
	"strings"
	"unicode/utf8"
)

// The messages of SPEC.md, as Go types with their wire form. Enum tags are their order there.

type wireFailure struct {
	code    uint32
	message string
}

func (f wireFailure) encode(e *encoder) { e.u32(f.code); e.text(f.message) }
func (d *decoder) failure() wireFailure { return wireFailure{d.u32(), d.text()} }

func (f wireFailure) error() error { return &Error{Code: ErrorCode(f.code), Message: f.message} }

// newFailure cuts the text to its limit, at a character.
func newFailure(code ErrorCode, message string) wireFailure {
	message = strings.ToValidUTF8(message, "?")
	if len(message) > maxMessage {
		cut := maxMessage
		for !utf8.RuneStart(message[cut]) {
			cut--
		}
		message = message[:cut]
	}
	return wireFailure{uint32(code), message}
}

type target struct {
	kind   uint32 // 0 a node id, 1 a ticket, 2 a plugin of this node
	node   NodeID
	ticket string
}

const (
	targetNode = iota
	targetTicket
	targetLocal
)

func (t target) encode(e *encoder) {
	e.u32(t.kind)
	switch t.kind {
	case targetNode:
		e.raw(t.node)
	case targetTicket:
		e.text(t.ticket)
	}
}

func (d *decoder) target() target {
	t := target{kind: d.u32()}
	switch t.kind {
	case targetNode:
		t.node = d.raw()
	case targetTicket:
		t.ticket = d.text()
	case targetLocal:
	default:
		d.fail("unknown target %d", t.kind)
	}
	return t
}

// Origin is who is at the other end of a stream or call: a peer, or a plugin of this node.
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

func (o Origin) encode(e *encoder) {
	if o.Local() {
		e.u32(1)
		e.text(o.Plugin)
	} else {
		e.u32(0)
		e.raw(o.Peer)
	}
}

func (d *decoder) origin() (o Origin) {
	switch tag := d.u32(); tag {
	case 0:
		o.Peer = d.raw()
	case 1:
		if o.Plugin = d.text(); o.Plugin == "" {
			d.fail("a plugin without a name")
		}
	default:
		d.fail("unknown origin %d", tag)
	}
	return o
}

type openingHello struct {
	versions []uint32
	token    [32]byte
}
type openingOpen struct {
	secret    [32]byte
	target    target
	protocol  string
	timeoutMS uint32
}
type openingAccept struct {
	secret [32]byte
	stream uint64
}

func (m openingHello) encode(e *encoder) {
	e.u32(0)
	e.u64(uint64(len(m.versions)))
	for _, version := range m.versions {
		e.u32(version)
	}
	e.raw(m.token)
}

func (m openingOpen) encode(e *encoder) {
	e.u32(1)
	e.raw(m.secret)
	m.target.encode(e)
	e.text(m.protocol)
	e.u32(m.timeoutMS)
}

func (m openingAccept) encode(e *encoder) { e.u32(2); e.raw(m.secret); e.u64(m.stream) }

func decodeOpening(b []byte) (m any, err error) {
	d := &decoder{b: b}
	switch tag := d.u32(); tag {
	case 0:
		m = openingHello{list(d, 4, d.u32), d.raw()}
	case 1:
		m = openingOpen{d.raw(), d.target(), d.text(), d.u32()}
	case 2:
		m = openingAccept{d.raw(), d.u64()}
	default:
		d.fail("unknown opening %d", tag)
	}
	return m, d.end()
}

// Grants is what the operator allowed this plugin; everything absent is denied. Protocols, topics and names are
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

func (g Grants) encode(e *encoder) {
	e.texts(g.Serve)
	e.texts(g.Dial)
	e.texts(g.ServeLocal)
	if g.AnyPeer {
		e.u32(1)
	} else {
		e.u32(0)
		e.u64(uint64(len(g.Peers)))
		for _, peer := range g.Peers {
			e.raw(peer)
		}
	}
	e.texts(g.Topics)
	e.texts(g.DHT)
	e.texts(g.Routes)
}

// covers reports whether they allow to serve.
func (g Grants) covers(key listenKey) bool {
	patterns := g.Serve
	if key.scope == scopeLocal {
		patterns = g.ServeLocal
	}
	for _, pattern := range patterns {
		prefix, star := strings.CutSuffix(pattern, "*")
		if pattern == key.protocol || star && strings.HasPrefix(key.protocol, prefix) {
			return true
		}
	}
	return false
}

func (d *decoder) nodeID() NodeID { return d.raw() }

func (d *decoder) grants() Grants {
	g := Grants{Serve: d.texts(), Dial: d.texts(), ServeLocal: d.texts()}
	switch tag := d.u32(); tag {
	case 0:
		g.Peers = list(d, 32, d.nodeID)
	case 1:
		g.AnyPeer = true
	default:
		d.fail("unknown peer scope %d", tag)
	}
	g.Topics, g.DHT, g.Routes = d.texts(), d.texts(), d.texts()
	return g
}

type replyRefused struct{ failure wireFailure }
type replyWelcome struct {
	version uint32
	node    NodeID
	plugin  string
	grants  Grants
	secret  [32]byte
}
type replyOpened struct {
	origin   Origin
	protocol string
}

func (m replyRefused) encode(e *encoder) { e.u32(0); m.failure.encode(e) }
func (m replyWelcome) encode(e *encoder) {
	e.u32(1)
	e.u32(m.version)
	e.raw(m.node)
	e.text(m.plugin)
	m.grants.encode(e)
	e.raw(m.secret)
}
func (m replyOpened) encode(e *encoder) { e.u32(2); m.origin.encode(e); e.text(m.protocol) }

func decodeOpeningReply(b []byte) (m any, err error) {
	d := &decoder{b: b}
	switch tag := d.u32(); tag {
	case 0:
		m = replyRefused{d.failure()}
	case 1:
		m = replyWelcome{d.u32(), d.raw(), d.text(), d.grants(), d.raw()}
	case 2:
		m = replyOpened{d.origin(), d.text()}
	default:
		d.fail("unknown reply %d", tag)
	}
	return m, d.end()
}

// Who may reach a listener, and how it wants calls.
const (
	scopePeers uint32 = iota
	scopeLocal
)
const (
	callsStreams uint32 = iota
	callsEvents
)

type reqListen struct {
	protocol     string
	scope, calls uint32
}
type reqUnlisten struct {
	protocol string
	scope    uint32
}
type reqCall struct {
	target    target
	protocol  string
	payload   []byte
	timeoutMS uint32
}
type reqRefuse struct {
	stream  uint64
	failure wireFailure
}
type reqPeers struct{}
type reqNode struct{}
type reqWatch struct{ on bool }
type reqReady struct{}
type reqPing struct{}

func (m reqListen) encode(e *encoder)   { e.u32(0); e.text(m.protocol); e.u32(m.scope); e.u32(m.calls) }
func (m reqUnlisten) encode(e *encoder) { e.u32(1); e.text(m.protocol); e.u32(m.scope) }
func (m reqCall) encode(e *encoder) {
	e.u32(2)
	m.target.encode(e)
	e.text(m.protocol)
	e.bytes(m.payload)
	e.u32(m.timeoutMS)
}
func (m reqRefuse) encode(e *encoder) { e.u32(3); e.u64(m.stream); m.failure.encode(e) }
func (m reqPeers) encode(e *encoder)  { e.u32(4) }
func (m reqNode) encode(e *encoder)   { e.u32(5) }
func (m reqWatch) encode(e *encoder)  { e.u32(6); e.bool(m.on) }
func (m reqReady) encode(e *encoder)  { e.u32(7) }
func (m reqPing) encode(e *encoder)   { e.u32(8) }

func (d *decoder) choice(limit uint32) uint32 {
	v := d.u32()
	if v >= limit {
		d.fail("unknown choice %d", v)
	}
	return v
}

func (d *decoder) request() message {
	switch tag := d.u32(); tag {
	case 0:
		return reqListen{d.text(), d.choice(2), d.choice(2)}
	case 1:
		return reqUnlisten{d.text(), d.choice(2)}
	case 2:
		return reqCall{d.target(), d.text(), d.bytes(), d.u32()}
	case 3:
		return reqRefuse{d.u64(), d.failure()}
	case 4:
		return reqPeers{}
	case 5:
		return reqNode{}
	case 6:
		return reqWatch{d.bool()}
	case 7:
		return reqReady{}
	case 8:
		return reqPing{}
	default:
		d.fail("unknown request %d", tag)
		return nil
	}
}

type message interface{ encode(*encoder) }

type frameRequest struct {
	id      uint64
	request message
}
type frameCancel struct{ id uint64 }
type frameAnswer struct {
	call    uint64
	payload []byte
}
type frameDecline struct {
	call    uint64
	failure wireFailure
}

func (m frameRequest) encode(e *encoder) { e.u32(0); e.u64(m.id); m.request.encode(e) }
func (m frameCancel) encode(e *encoder)  { e.u32(1); e.u64(m.id) }
func (m frameAnswer) encode(e *encoder)  { e.u32(2); e.u64(m.call); e.bytes(m.payload) }
func (m frameDecline) encode(e *encoder) { e.u32(3); e.u64(m.call); m.failure.encode(e) }

func decodeClientFrame(b []byte) (m message, err error) {
	d := &decoder{b: b}
	switch tag := d.u32(); tag {
	case 0:
		m = frameRequest{d.u64(), d.request()}
	case 1:
		m = frameCancel{d.u64()}
	case 2:
		m = frameAnswer{d.u64(), d.bytes()}
	case 3:
		m = frameDecline{d.u64(), d.failure()}
	default:
		d.fail("unknown frame %d", tag)
	}
	return m, d.end()
}

type respFailed struct{ failure wireFailure }
type respDone struct{}
type respReply struct{ payload []byte }
type respPeers struct{ peers []wirePeer }
type respNode struct {
	node            NodeID
	ticket, version string
	uptimeMS        uint64
}
type respUnknown struct{ tag uint32 }

type wirePeer struct {
	node               NodeID
	path               uint32
	rttUS, connectedMS uint64
	protocols          []string
}

func (p wirePeer) encode(e *encoder) {
	e.raw(p.node)
	e.u32(p.path)
	e.u64(p.rttUS)
	e.u64(p.connectedMS)
	e.texts(p.protocols)
}
func (d *decoder) peer() wirePeer {
	return wirePeer{d.raw(), d.choice(2), d.u64(), d.u64(), d.texts()}
}

func (m respFailed) encode(e *encoder) { e.u32(0); m.failure.encode(e) }
func (m respDone) encode(e *encoder)   { e.u32(1) }
func (m respReply) encode(e *encoder)  { e.u32(2); e.bytes(m.payload) }
func (m respPeers) encode(e *encoder) {
	e.u32(3)
	e.u64(uint64(len(m.peers)))
	for _, peer := range m.peers {
		peer.encode(e)
	}
}
func (m respNode) encode(e *encoder) {
	e.u32(4)
	e.raw(m.node)
	e.text(m.ticket)
	e.text(m.version)
	e.u64(m.uptimeMS)
}
func (m respUnknown) encode(e *encoder) { e.u32(m.tag) }

func (d *decoder) response() message {
	switch tag := d.u32(); tag {
	case 0:
		return respFailed{d.failure()}
	case 1:
		return respDone{}
	case 2:
		return respReply{d.bytes()}
	case 3:
		return respPeers{list(d, 60, d.peer)}
	case 4:
		return respNode{d.raw(), d.text(), d.text(), d.u64()}
	default:
		d.b = nil
		return respUnknown{tag}
	}
}

type evStream struct {
	stream   uint64
	origin   Origin
	protocol string
}
type evStreamGone struct {
	stream  uint64
	failure wireFailure
}
type evCall struct {
	call     uint64
	origin   Origin
	protocol string
	payload  []byte
}
type evCallGone struct{ call uint64 }
type evPeerUp struct{ peer wirePeer }
type evPeerDown struct {
	node    NodeID
	failure wireFailure
}
type evGrants struct{ grants Grants }
type evDropped struct{ count uint64 }
type evClosing struct{ failure wireFailure }
type evUnknown struct{ tag uint32 }

func (m evStream) encode(e *encoder) {
	e.u32(0)
	e.u64(m.stream)
	m.origin.encode(e)
	e.text(m.protocol)
}
func (m evStreamGone) encode(e *encoder) {
	e.u32(1)
	e.u64(m.stream)
	m.failure.encode(e)
}
func (m evCall) encode(e *encoder) {
	e.u32(2)
	e.u64(m.call)
	m.origin.encode(e)
	e.text(m.protocol)
	e.bytes(m.payload)
}
func (m evCallGone) encode(e *encoder) { e.u32(3); e.u64(m.call) }
func (m evPeerUp) encode(e *encoder)   { e.u32(4); m.peer.encode(e) }
func (m evPeerDown) encode(e *encoder) { e.u32(5); e.raw(m.node); m.failure.encode(e) }
func (m evGrants) encode(e *encoder)   { e.u32(6); m.grants.encode(e) }
func (m evDropped) encode(e *encoder)  { e.u32(7); e.u64(m.count) }
func (m evClosing) encode(e *encoder)  { e.u32(8); m.failure.encode(e) }
func (m evUnknown) encode(e *encoder)  { e.u32(m.tag) }

func (d *decoder) event() message {
	switch tag := d.u32(); tag {
	case 0:
		return evStream{d.u64(), d.origin(), d.text()}
	case 1:
		return evStreamGone{d.u64(), d.failure()}
	case 2:
		return evCall{d.u64(), d.origin(), d.text(), d.bytes()}
	case 3:
		return evCallGone{d.u64()}
	case 4:
		return evPeerUp{d.peer()}
	case 5:
		return evPeerDown{d.raw(), d.failure()}
	case 6:
		return evGrants{d.grants()}
	case 7:
		return evDropped{d.u64()}
	case 8:
		return evClosing{d.failure()}
	default:
		d.b = nil // a later version's event: skipped and counted, never an error
		return evUnknown{tag}
	}
}

type frameResponse struct {
	id       uint64
	response message
}
type frameEvent struct{ event message }

func (m frameResponse) encode(e *encoder) { e.u32(0); e.u64(m.id); m.response.encode(e) }
func (m frameEvent) encode(e *encoder)    { e.u32(1); m.event.encode(e) }

func decodeServerFrame(b []byte) (m message, err error) {
	d := &decoder{b: b}
	switch tag := d.u32(); tag {
	case 0:
		m = frameResponse{d.u64(), d.response()}
	case 1:
		m = frameEvent{d.event()}
	default:
		d.fail("unknown frame %d", tag)
	}
	return m, d.end()
}

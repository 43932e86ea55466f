package polypeer

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// fakeTable is the DHT of a fake world, and its numbers. Guarded by the world's mu. Its hashes are not BLAKE3.
type fakeTable struct {
	values    map[Hash][]byte
	records   map[string]msgSignedRecord // by key and name
	providers map[string]map[NodeID]bool
	messages  uint64
}

func newFakeTable() fakeTable {
	return fakeTable{map[Hash][]byte{}, map[string]msgSignedRecord{}, map[string]map[NodeID]bool{}, 0}
}

// fakeServices is what a session asked for. Guarded by the session's mu.
type fakeServices struct {
	topics    map[string]msgValidation
	datagrams map[string]bool
	network   bool
	verdicts  chan msgRequestJudge
}

func newFakeServices() fakeServices {
	return fakeServices{map[string]msgValidation{}, map[string]bool{}, false, make(chan msgRequestJudge, 1024)}
}

func notGranted(what string) msgResponse { return msgResponseFailed{newFailure(CodeNotGranted, what)} }

// others is the sessions of all nodes; n.mu is held, so that of the others is not.
func (n *fakeNode) everySession() map[NodeID]*fakeSession {
	n.world.mu.Lock()
	defer n.world.mu.Unlock()
	sessions := map[NodeID]*fakeSession{}
	for id, other := range n.world.nodes {
		if other != n {
			other.mu.Lock()
		}
		if other.session != nil {
			sessions[id] = other.session
		}
		if other != n {
			other.mu.Unlock()
		}
	}
	return sessions
}

// service answers the requests of topics, records and datagrams; n.mu is held.
func (n *fakeNode) service(s *fakeSession, request msgRequest) msgResponse {
	granted := func(patterns []string, name string) bool {
		for _, pattern := range patterns {
			if allows(pattern, name) {
				return true
			}
		}
		return false
	}
	switch request := request.(type) {
	case msgRequestPublish:
		if !granted(n.grants.Topics, request.topic) {
			return notGranted(request.topic)
		}
		return n.publish(s, request)
	case msgRequestSubscribe:
		if !granted(n.grants.Topics, request.topic) {
			return notGranted(request.topic)
		}
		if request.topic == n.busy {
			return msgResponseFailed{newFailure(CodeBusy, "")}
		}
		s.mu.Lock()
		s.topics[request.topic] = request.validation
		s.mu.Unlock()
	case msgRequestUnsubscribe:
		s.mu.Lock()
		delete(s.topics, request.topic)
		s.mu.Unlock()
	case msgRequestJudge:
		s.verdicts <- request
	case msgRequestTopic:
		return msgResponseTopic{msgTopicInfo{neighbours: 5, delivered: 4, duplicates: 3, dropped: 2, pulled: 1}}
	case msgRequestReceiveDatagrams:
		if !granted(n.grants.Serve, request.protocol) {
			return notGranted(request.protocol)
		}
		s.mu.Lock()
		s.datagrams[request.protocol] = request.on
		s.mu.Unlock()
	case msgRequestSendDatagram:
		other := n.everySession()[request.node]
		if other == nil {
			return msgResponseFailed{newFailure(CodeUnreachable, "not connected")}
		}
		other.mu.Lock()
		on := other.datagrams[request.protocol]
		other.mu.Unlock()
		if on {
			other.send(msgServerFrameEvent{msgEventDatagram{n.id, request.protocol, request.payload}})
		}
	case msgRequestWatchNetwork:
		s.mu.Lock()
		s.network = request.on
		s.mu.Unlock()
		if request.on {
			ticket := "polypeer:" + n.id.String() + n.addresses
			s.send(msgServerFrameEvent{msgEventNetwork{msgNetworkChangeReach{n.reach}}})
			s.send(msgServerFrameEvent{msgEventNetwork{msgNetworkChangeAddresses{ticket}}})
		}
	default:
		return n.table(request, granted)
	}
	return msgResponseDone{}
}

func (n *fakeNode) publish(from *fakeSession, request msgRequestPublish) msgResponse {
	sessions := n.everySession()
	n.world.mu.Lock()
	n.world.messages++
	id := sha256.Sum256(binary.LittleEndian.AppendUint64(request.payload, n.world.messages))
	n.world.mu.Unlock()
	peers := uint32(0)
	for _, s := range sessions {
		s.mu.Lock()
		_, subscribed := s.topics[request.topic]
		s.mu.Unlock()
		if subscribed && s != from {
			peers++
			s.send(msgServerFrameEvent{msgEventMessage{request.topic, id, n.id, request.payload}})
		}
	}
	return msgResponsePublished{id, peers}
}

// table answers the requests of the DHT.
func (n *fakeNode) table(request msgRequest, granted func([]string, string) bool) msgResponse {
	w := n.world
	w.mu.Lock()
	defer w.mu.Unlock()
	switch request := request.(type) {
	case msgRequestPutImmutable:
		if !granted(n.grants.DHT, request.name) {
			return notGranted(request.name)
		}
		hash := sha256.Sum256(append([]byte(request.name), request.value...))
		w.values[hash] = request.value
		return msgResponseStored{hash, 0, 20}
	case msgRequestGetImmutable:
		value, some := w.values[request.hash]
		return msgResponseValue{msgOption[[]byte]{some, value}}
	case msgRequestPutOwn:
		if !granted(n.grants.DHT, request.name) {
			return notGranted(request.name)
		}
		place := string(n.id[:]) + request.name
		record := msgSignedRecord{key: n.id, name: request.name, value: request.value, sequence: w.records[place].sequence + 1}
		record.expires = uint64(time.Now().Unix()) + uint64(request.lifetimeS)
		w.records[place] = record
		return msgResponseStored{sha256.Sum256([]byte(place)), record.sequence, 20}
	case msgRequestPutSigned:
		if !recordFrom(request.record).Verify() {
			return msgResponseFailed{newFailure(CodeBadArgument, "a wrong signature")}
		}
		place := string(request.record.key[:]) + request.record.name
		w.records[place] = request.record
		return msgResponseStored{sha256.Sum256([]byte(place)), request.record.sequence, 20}
	case msgRequestGetSigned:
		record, some := w.records[string(request.key[:])+request.name]
		return msgResponseRecord{msgOption[msgSignedRecord]{some, record}}
	case msgRequestProvide:
		if !granted(n.grants.DHT, request.name) {
			return notGranted(request.name)
		}
		if w.providers[request.name] == nil {
			w.providers[request.name] = map[NodeID]bool{}
		}
		w.providers[request.name][n.id] = true
		return msgResponseStored{copies: 20}
	case msgRequestUnprovide:
		delete(w.providers[request.name], n.id)
	case msgRequestFindProviders:
		var found []msgNode
		for id := range w.providers[request.name] {
			if len(found) < int(request.limit) {
				found = append(found, id)
			}
		}
		return msgResponseProviders{found}
	case msgRequestFindPeer:
		if w.nodes[request.node] == nil {
			return msgResponseFailed{newFailure(CodeUnknownPeer, "")}
		}
		return msgResponseFound{"polypeer:" + NodeID(request.node).String() + "@127.0.0.1:1"}
	}
	return msgResponseDone{}
}

// Code generated from ipc-protocol/src by `make generate`. DO NOT EDIT.

package polypeer

// The gateway's messages as Go values, and their bytes; ipc-protocol/SPEC.md says what they mean. A message E is the
// type msgE. An enum is an interface and its variant V the struct msgEV, or, when no variant holds anything, a number
// and its constants msgEV. A variant's one unnamed value is its field value.

type msgTarget interface {
	msgValue
	isTarget()
}

type msgTargetNode struct {
	value msgNode
}

func (msgTargetNode) isTarget() {}

func (v msgTargetNode) write(w *msgWriter) {
	w.u32(0)
	w.node(v.value)
}

func (v msgTargetNode) json() any {
	return map[string]any{"Node": msgJSONNode(v.value)}
}

type msgTargetTicket struct {
	value string
}

func (msgTargetTicket) isTarget() {}

func (v msgTargetTicket) write(w *msgWriter) {
	w.u32(1)
	w.ticket(v.value)
}

func (v msgTargetTicket) json() any {
	return map[string]any{"Ticket": v.value}
}

type msgTargetLocal struct{}

func (msgTargetLocal) isTarget() {}

func (msgTargetLocal) write(w *msgWriter) {
	w.u32(2)
}

func (msgTargetLocal) json() any {
	return "Local"
}

func (r *msgReader) msgTarget() msgTarget {
	switch tag := r.u32(); tag {
	case 0:
		return msgTargetNode{r.node()}
	case 1:
		return msgTargetTicket{r.ticket()}
	case 2:
		return msgTargetLocal{}
	default:
		r.fail("unknown Target %d", tag)
		return nil
	}
}

type msgScope uint32

const (
	msgScopePeers msgScope = 0
	msgScopeLocal msgScope = 1
)

func (r *msgReader) msgScope() msgScope {
	return msgScope(r.choice("Scope", 2))
}

func (v msgScope) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgScope) json() any {
	return []string{"Peers", "Local"}[v]
}

type msgOpening interface {
	msgValue
	isOpening()
}

type msgOpeningHello struct {
	versions []uint32
	token    msgSecret
}

func (msgOpeningHello) isOpening() {}

func (v msgOpeningHello) write(w *msgWriter) {
	w.u32(0)
	w.u64(uint64(len(v.versions)))
	for _, item := range v.versions {
		w.u32(item)
	}
	w.secret(v.token)
}

func (v msgOpeningHello) json() any {
	return map[string]any{"Hello": map[string]any{"versions": msgJSONList(v.versions, msgJSONNumber), "token": msgJSONHex(v.token[:])}}
}

type msgOpeningOpen struct {
	secret    msgSecret
	target    msgTarget
	protocol  string
	timeoutMS uint32
}

func (msgOpeningOpen) isOpening() {}

func (v msgOpeningOpen) write(w *msgWriter) {
	w.u32(1)
	w.secret(v.secret)
	v.target.write(w)
	w.protocol(v.protocol)
	w.u32(v.timeoutMS)
}

func (v msgOpeningOpen) json() any {
	return map[string]any{"Open": map[string]any{"secret": msgJSONHex(v.secret[:]), "target": v.target.json(), "protocol": v.protocol, "timeout_ms": v.timeoutMS}}
}

type msgOpeningAccept struct {
	secret msgSecret
	stream uint64
}

func (msgOpeningAccept) isOpening() {}

func (v msgOpeningAccept) write(w *msgWriter) {
	w.u32(2)
	w.secret(v.secret)
	w.u64(v.stream)
}

func (v msgOpeningAccept) json() any {
	return map[string]any{"Accept": map[string]any{"secret": msgJSONHex(v.secret[:]), "stream": v.stream}}
}

type msgOpeningAcceptNext struct {
	secret   msgSecret
	protocol string
	scope    msgScope
}

func (msgOpeningAcceptNext) isOpening() {}

func (v msgOpeningAcceptNext) write(w *msgWriter) {
	w.u32(3)
	w.secret(v.secret)
	w.protocol(v.protocol)
	v.scope.write(w)
}

func (v msgOpeningAcceptNext) json() any {
	return map[string]any{"AcceptNext": map[string]any{"secret": msgJSONHex(v.secret[:]), "protocol": v.protocol, "scope": v.scope.json()}}
}

func (r *msgReader) msgOpening() msgOpening {
	switch tag := r.u32(); tag {
	case 0:
		return msgOpeningHello{msgList(r, 32, r.u32), r.secret()}
	case 1:
		return msgOpeningOpen{r.secret(), r.msgTarget(), r.protocol(), r.u32()}
	case 2:
		return msgOpeningAccept{r.secret(), r.u64()}
	case 3:
		return msgOpeningAcceptNext{r.secret(), r.protocol(), r.msgScope()}
	default:
		r.fail("unknown Opening %d", tag)
		return nil
	}
}

func decodeMsgOpening(body []byte) (msgOpening, error) {
	return decodeMsg(body, (*msgReader).msgOpening)
}

type msgFailure struct {
	code    uint32
	message string
}

func (r *msgReader) msgFailure() msgFailure {
	return msgFailure{r.u32(), r.text()}
}

func (v msgFailure) write(w *msgWriter) {
	w.u32(v.code)
	w.text(v.message)
}

func (v msgFailure) json() any {
	return map[string]any{"code": v.code, "message": v.message}
}

type msgPeerScope interface {
	msgValue
	isPeerScope()
}

type msgPeerScopeList struct {
	value []msgNode
}

func (msgPeerScopeList) isPeerScope() {}

func (v msgPeerScopeList) write(w *msgWriter) {
	w.u32(0)
	w.u64(uint64(len(v.value)))
	for _, item := range v.value {
		w.node(item)
	}
}

func (v msgPeerScopeList) json() any {
	return map[string]any{"List": msgJSONList(v.value, msgJSONNode)}
}

type msgPeerScopeAny struct{}

func (msgPeerScopeAny) isPeerScope() {}

func (msgPeerScopeAny) write(w *msgWriter) {
	w.u32(1)
}

func (msgPeerScopeAny) json() any {
	return "Any"
}

func (r *msgReader) msgPeerScope() msgPeerScope {
	switch tag := r.u32(); tag {
	case 0:
		return msgPeerScopeList{msgList(r, maxFrame, r.node)}
	case 1:
		return msgPeerScopeAny{}
	default:
		r.fail("unknown PeerScope %d", tag)
		return nil
	}
}

type msgGrants struct {
	serve      []string
	dial       []string
	serveLocal []string
	peers      msgPeerScope
	topics     []string
	dht        []string
	routes     []string
}

func (r *msgReader) msgGrants() msgGrants {
	return msgGrants{msgList(r, maxFrame, r.pattern), msgList(r, maxFrame, r.pattern), msgList(r, maxFrame, r.pattern), r.msgPeerScope(), msgList(r, maxFrame, r.pattern), msgList(r, maxFrame, r.pattern), msgList(r, maxFrame, r.pattern)}
}

func (v msgGrants) write(w *msgWriter) {
	w.u64(uint64(len(v.serve)))
	for _, item := range v.serve {
		w.pattern(item)
	}
	w.u64(uint64(len(v.dial)))
	for _, item := range v.dial {
		w.pattern(item)
	}
	w.u64(uint64(len(v.serveLocal)))
	for _, item := range v.serveLocal {
		w.pattern(item)
	}
	v.peers.write(w)
	w.u64(uint64(len(v.topics)))
	for _, item := range v.topics {
		w.pattern(item)
	}
	w.u64(uint64(len(v.dht)))
	for _, item := range v.dht {
		w.pattern(item)
	}
	w.u64(uint64(len(v.routes)))
	for _, item := range v.routes {
		w.pattern(item)
	}
}

func (v msgGrants) json() any {
	return map[string]any{"serve": msgJSONList(v.serve, msgJSONText), "dial": msgJSONList(v.dial, msgJSONText), "serve_local": msgJSONList(v.serveLocal, msgJSONText), "peers": v.peers.json(), "topics": msgJSONList(v.topics, msgJSONText), "dht": msgJSONList(v.dht, msgJSONText), "routes": msgJSONList(v.routes, msgJSONText)}
}

type msgWelcome struct {
	version uint32
	node    msgNode
	plugin  string
	grants  msgGrants
	secret  msgSecret
}

func (r *msgReader) msgWelcome() msgWelcome {
	return msgWelcome{r.u32(), r.node(), r.pluginID(), r.msgGrants(), r.secret()}
}

func (v msgWelcome) write(w *msgWriter) {
	w.u32(v.version)
	w.node(v.node)
	w.pluginID(v.plugin)
	v.grants.write(w)
	w.secret(v.secret)
}

func (v msgWelcome) json() any {
	return map[string]any{"version": v.version, "node": msgJSONNode(v.node), "plugin": v.plugin, "grants": v.grants.json(), "secret": msgJSONHex(v.secret[:])}
}

type msgOrigin interface {
	msgValue
	isOrigin()
}

type msgOriginPeer struct {
	value msgNode
}

func (msgOriginPeer) isOrigin() {}

func (v msgOriginPeer) write(w *msgWriter) {
	w.u32(0)
	w.node(v.value)
}

func (v msgOriginPeer) json() any {
	return map[string]any{"Peer": msgJSONNode(v.value)}
}

type msgOriginLocal struct {
	value string
}

func (msgOriginLocal) isOrigin() {}

func (v msgOriginLocal) write(w *msgWriter) {
	w.u32(1)
	w.pluginID(v.value)
}

func (v msgOriginLocal) json() any {
	return map[string]any{"Local": v.value}
}

func (r *msgReader) msgOrigin() msgOrigin {
	switch tag := r.u32(); tag {
	case 0:
		return msgOriginPeer{r.node()}
	case 1:
		return msgOriginLocal{r.pluginID()}
	default:
		r.fail("unknown Origin %d", tag)
		return nil
	}
}

type msgOpeningReply interface {
	msgValue
	isOpeningReply()
}

type msgOpeningReplyRefused struct {
	value msgFailure
}

func (msgOpeningReplyRefused) isOpeningReply() {}

func (v msgOpeningReplyRefused) write(w *msgWriter) {
	w.u32(0)
	v.value.write(w)
}

func (v msgOpeningReplyRefused) json() any {
	return map[string]any{"Refused": v.value.json()}
}

type msgOpeningReplyWelcome struct {
	value msgWelcome
}

func (msgOpeningReplyWelcome) isOpeningReply() {}

func (v msgOpeningReplyWelcome) write(w *msgWriter) {
	w.u32(1)
	v.value.write(w)
}

func (v msgOpeningReplyWelcome) json() any {
	return map[string]any{"Welcome": v.value.json()}
}

type msgOpeningReplyOpened struct {
	origin   msgOrigin
	protocol string
}

func (msgOpeningReplyOpened) isOpeningReply() {}

func (v msgOpeningReplyOpened) write(w *msgWriter) {
	w.u32(2)
	v.origin.write(w)
	w.protocol(v.protocol)
}

func (v msgOpeningReplyOpened) json() any {
	return map[string]any{"Opened": map[string]any{"origin": v.origin.json(), "protocol": v.protocol}}
}

func (r *msgReader) msgOpeningReply() msgOpeningReply {
	switch tag := r.u32(); tag {
	case 0:
		return msgOpeningReplyRefused{r.msgFailure()}
	case 1:
		return msgOpeningReplyWelcome{r.msgWelcome()}
	case 2:
		return msgOpeningReplyOpened{r.msgOrigin(), r.protocol()}
	default:
		r.fail("unknown OpeningReply %d", tag)
		return nil
	}
}

func decodeMsgOpeningReply(body []byte) (msgOpeningReply, error) {
	return decodeMsg(body, (*msgReader).msgOpeningReply)
}

type msgCallMode uint32

const (
	msgCallModeStreams msgCallMode = 0
	msgCallModeEvents  msgCallMode = 1
)

func (r *msgReader) msgCallMode() msgCallMode {
	return msgCallMode(r.choice("CallMode", 2))
}

func (v msgCallMode) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgCallMode) json() any {
	return []string{"Streams", "Events"}[v]
}

type msgValidation uint32

const (
	msgValidationSignature msgValidation = 0
	msgValidationPlugin    msgValidation = 1
)

func (r *msgReader) msgValidation() msgValidation {
	return msgValidation(r.choice("Validation", 2))
}

func (v msgValidation) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgValidation) json() any {
	return []string{"Signature", "Plugin"}[v]
}

type msgVerdict uint32

const (
	msgVerdictAccept msgVerdict = 0
	msgVerdictIgnore msgVerdict = 1
	msgVerdictReject msgVerdict = 2
)

func (r *msgReader) msgVerdict() msgVerdict {
	return msgVerdict(r.choice("Verdict", 3))
}

func (v msgVerdict) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgVerdict) json() any {
	return []string{"Accept", "Ignore", "Reject"}[v]
}

type msgSignedRecord struct {
	key       msgNode
	name      string
	sequence  uint64
	expires   uint64
	value     []byte
	signature msgSignature
}

func (r *msgReader) msgSignedRecord() msgSignedRecord {
	return msgSignedRecord{r.node(), r.name(), r.u64(), r.u64(), r.bytes(), r.signature()}
}

func (v msgSignedRecord) write(w *msgWriter) {
	w.node(v.key)
	w.name(v.name)
	w.u64(v.sequence)
	w.u64(v.expires)
	w.bytes(v.value)
	w.signature(v.signature)
}

func (v msgSignedRecord) json() any {
	return map[string]any{"key": msgJSONNode(v.key), "name": v.name, "sequence": v.sequence, "expires": v.expires, "value": msgJSONHex(v.value), "signature": msgJSONHex(v.signature[:])}
}

type msgRequest interface {
	msgValue
	isRequest()
}

type msgRequestListen struct {
	protocol string
	scope    msgScope
	calls    msgCallMode
}

func (msgRequestListen) isRequest() {}

func (v msgRequestListen) write(w *msgWriter) {
	w.u32(0)
	w.protocol(v.protocol)
	v.scope.write(w)
	v.calls.write(w)
}

func (v msgRequestListen) json() any {
	return map[string]any{"Listen": map[string]any{"protocol": v.protocol, "scope": v.scope.json(), "calls": v.calls.json()}}
}

type msgRequestUnlisten struct {
	protocol string
	scope    msgScope
}

func (msgRequestUnlisten) isRequest() {}

func (v msgRequestUnlisten) write(w *msgWriter) {
	w.u32(1)
	w.protocol(v.protocol)
	v.scope.write(w)
}

func (v msgRequestUnlisten) json() any {
	return map[string]any{"Unlisten": map[string]any{"protocol": v.protocol, "scope": v.scope.json()}}
}

type msgRequestCall struct {
	target    msgTarget
	protocol  string
	payload   []byte
	timeoutMS uint32
}

func (msgRequestCall) isRequest() {}

func (v msgRequestCall) write(w *msgWriter) {
	w.u32(2)
	v.target.write(w)
	w.protocol(v.protocol)
	w.bytes(v.payload)
	w.u32(v.timeoutMS)
}

func (v msgRequestCall) json() any {
	return map[string]any{"Call": map[string]any{"target": v.target.json(), "protocol": v.protocol, "payload": msgJSONHex(v.payload), "timeout_ms": v.timeoutMS}}
}

type msgRequestRefuseStream struct {
	stream  uint64
	failure msgFailure
}

func (msgRequestRefuseStream) isRequest() {}

func (v msgRequestRefuseStream) write(w *msgWriter) {
	w.u32(3)
	w.u64(v.stream)
	v.failure.write(w)
}

func (v msgRequestRefuseStream) json() any {
	return map[string]any{"RefuseStream": map[string]any{"stream": v.stream, "failure": v.failure.json()}}
}

type msgRequestPeers struct{}

func (msgRequestPeers) isRequest() {}

func (msgRequestPeers) write(w *msgWriter) {
	w.u32(4)
}

func (msgRequestPeers) json() any {
	return "Peers"
}

type msgRequestNode struct{}

func (msgRequestNode) isRequest() {}

func (msgRequestNode) write(w *msgWriter) {
	w.u32(5)
}

func (msgRequestNode) json() any {
	return "Node"
}

type msgRequestWatchPeers struct {
	on bool
}

func (msgRequestWatchPeers) isRequest() {}

func (v msgRequestWatchPeers) write(w *msgWriter) {
	w.u32(6)
	w.bool(v.on)
}

func (v msgRequestWatchPeers) json() any {
	return map[string]any{"WatchPeers": map[string]any{"on": v.on}}
}

type msgRequestReady struct{}

func (msgRequestReady) isRequest() {}

func (msgRequestReady) write(w *msgWriter) {
	w.u32(7)
}

func (msgRequestReady) json() any {
	return "Ready"
}

type msgRequestPing struct{}

func (msgRequestPing) isRequest() {}

func (msgRequestPing) write(w *msgWriter) {
	w.u32(8)
}

func (msgRequestPing) json() any {
	return "Ping"
}

type msgRequestPublish struct {
	topic   string
	payload []byte
}

func (msgRequestPublish) isRequest() {}

func (v msgRequestPublish) write(w *msgWriter) {
	w.u32(9)
	w.name(v.topic)
	w.bytes(v.payload)
}

func (v msgRequestPublish) json() any {
	return map[string]any{"Publish": map[string]any{"topic": v.topic, "payload": msgJSONHex(v.payload)}}
}

type msgRequestSubscribe struct {
	topic      string
	validation msgValidation
}

func (msgRequestSubscribe) isRequest() {}

func (v msgRequestSubscribe) write(w *msgWriter) {
	w.u32(10)
	w.name(v.topic)
	v.validation.write(w)
}

func (v msgRequestSubscribe) json() any {
	return map[string]any{"Subscribe": map[string]any{"topic": v.topic, "validation": v.validation.json()}}
}

type msgRequestUnsubscribe struct {
	topic string
}

func (msgRequestUnsubscribe) isRequest() {}

func (v msgRequestUnsubscribe) write(w *msgWriter) {
	w.u32(11)
	w.name(v.topic)
}

func (v msgRequestUnsubscribe) json() any {
	return map[string]any{"Unsubscribe": map[string]any{"topic": v.topic}}
}

type msgRequestJudge struct {
	topic   string
	message msgHash
	verdict msgVerdict
}

func (msgRequestJudge) isRequest() {}

func (v msgRequestJudge) write(w *msgWriter) {
	w.u32(12)
	w.name(v.topic)
	w.hash(v.message)
	v.verdict.write(w)
}

func (v msgRequestJudge) json() any {
	return map[string]any{"Judge": map[string]any{"topic": v.topic, "message": msgJSONHex(v.message[:]), "verdict": v.verdict.json()}}
}

type msgRequestTopic struct {
	topic string
}

func (msgRequestTopic) isRequest() {}

func (v msgRequestTopic) write(w *msgWriter) {
	w.u32(13)
	w.name(v.topic)
}

func (v msgRequestTopic) json() any {
	return map[string]any{"Topic": map[string]any{"topic": v.topic}}
}

type msgRequestPutImmutable struct {
	name      string
	value     []byte
	timeoutMS uint32
}

func (msgRequestPutImmutable) isRequest() {}

func (v msgRequestPutImmutable) write(w *msgWriter) {
	w.u32(14)
	w.name(v.name)
	w.bytes(v.value)
	w.u32(v.timeoutMS)
}

func (v msgRequestPutImmutable) json() any {
	return map[string]any{"PutImmutable": map[string]any{"name": v.name, "value": msgJSONHex(v.value), "timeout_ms": v.timeoutMS}}
}

type msgRequestGetImmutable struct {
	name      string
	hash      msgHash
	timeoutMS uint32
}

func (msgRequestGetImmutable) isRequest() {}

func (v msgRequestGetImmutable) write(w *msgWriter) {
	w.u32(15)
	w.name(v.name)
	w.hash(v.hash)
	w.u32(v.timeoutMS)
}

func (v msgRequestGetImmutable) json() any {
	return map[string]any{"GetImmutable": map[string]any{"name": v.name, "hash": msgJSONHex(v.hash[:]), "timeout_ms": v.timeoutMS}}
}

type msgRequestPutOwn struct {
	name      string
	value     []byte
	lifetimeS uint32
	timeoutMS uint32
}

func (msgRequestPutOwn) isRequest() {}

func (v msgRequestPutOwn) write(w *msgWriter) {
	w.u32(16)
	w.name(v.name)
	w.bytes(v.value)
	w.u32(v.lifetimeS)
	w.u32(v.timeoutMS)
}

func (v msgRequestPutOwn) json() any {
	return map[string]any{"PutOwn": map[string]any{"name": v.name, "value": msgJSONHex(v.value), "lifetime_s": v.lifetimeS, "timeout_ms": v.timeoutMS}}
}

type msgRequestPutSigned struct {
	record    msgSignedRecord
	timeoutMS uint32
}

func (msgRequestPutSigned) isRequest() {}

func (v msgRequestPutSigned) write(w *msgWriter) {
	w.u32(17)
	v.record.write(w)
	w.u32(v.timeoutMS)
}

func (v msgRequestPutSigned) json() any {
	return map[string]any{"PutSigned": map[string]any{"record": v.record.json(), "timeout_ms": v.timeoutMS}}
}

type msgRequestGetSigned struct {
	key       msgNode
	name      string
	timeoutMS uint32
}

func (msgRequestGetSigned) isRequest() {}

func (v msgRequestGetSigned) write(w *msgWriter) {
	w.u32(18)
	w.node(v.key)
	w.name(v.name)
	w.u32(v.timeoutMS)
}

func (v msgRequestGetSigned) json() any {
	return map[string]any{"GetSigned": map[string]any{"key": msgJSONNode(v.key), "name": v.name, "timeout_ms": v.timeoutMS}}
}

type msgRequestProvide struct {
	name      string
	timeoutMS uint32
}

func (msgRequestProvide) isRequest() {}

func (v msgRequestProvide) write(w *msgWriter) {
	w.u32(19)
	w.name(v.name)
	w.u32(v.timeoutMS)
}

func (v msgRequestProvide) json() any {
	return map[string]any{"Provide": map[string]any{"name": v.name, "timeout_ms": v.timeoutMS}}
}

type msgRequestUnprovide struct {
	name string
}

func (msgRequestUnprovide) isRequest() {}

func (v msgRequestUnprovide) write(w *msgWriter) {
	w.u32(20)
	w.name(v.name)
}

func (v msgRequestUnprovide) json() any {
	return map[string]any{"Unprovide": map[string]any{"name": v.name}}
}

type msgRequestFindProviders struct {
	name      string
	limit     uint32
	timeoutMS uint32
}

func (msgRequestFindProviders) isRequest() {}

func (v msgRequestFindProviders) write(w *msgWriter) {
	w.u32(21)
	w.name(v.name)
	w.u32(v.limit)
	w.u32(v.timeoutMS)
}

func (v msgRequestFindProviders) json() any {
	return map[string]any{"FindProviders": map[string]any{"name": v.name, "limit": v.limit, "timeout_ms": v.timeoutMS}}
}

type msgRequestFindPeer struct {
	node      msgNode
	timeoutMS uint32
}

func (msgRequestFindPeer) isRequest() {}

func (v msgRequestFindPeer) write(w *msgWriter) {
	w.u32(22)
	w.node(v.node)
	w.u32(v.timeoutMS)
}

func (v msgRequestFindPeer) json() any {
	return map[string]any{"FindPeer": map[string]any{"node": msgJSONNode(v.node), "timeout_ms": v.timeoutMS}}
}

type msgRequestSendDatagram struct {
	node     msgNode
	protocol string
	payload  []byte
}

func (msgRequestSendDatagram) isRequest() {}

func (v msgRequestSendDatagram) write(w *msgWriter) {
	w.u32(23)
	w.node(v.node)
	w.protocol(v.protocol)
	w.bytes(v.payload)
}

func (v msgRequestSendDatagram) json() any {
	return map[string]any{"SendDatagram": map[string]any{"node": msgJSONNode(v.node), "protocol": v.protocol, "payload": msgJSONHex(v.payload)}}
}

type msgRequestReceiveDatagrams struct {
	protocol string
	on       bool
}

func (msgRequestReceiveDatagrams) isRequest() {}

func (v msgRequestReceiveDatagrams) write(w *msgWriter) {
	w.u32(24)
	w.protocol(v.protocol)
	w.bool(v.on)
}

func (v msgRequestReceiveDatagrams) json() any {
	return map[string]any{"ReceiveDatagrams": map[string]any{"protocol": v.protocol, "on": v.on}}
}

type msgRequestWatchNetwork struct {
	on bool
}

func (msgRequestWatchNetwork) isRequest() {}

func (v msgRequestWatchNetwork) write(w *msgWriter) {
	w.u32(25)
	w.bool(v.on)
}

func (v msgRequestWatchNetwork) json() any {
	return map[string]any{"WatchNetwork": map[string]any{"on": v.on}}
}

type msgRequestKeepConnections struct{}

func (msgRequestKeepConnections) isRequest() {}

func (msgRequestKeepConnections) write(w *msgWriter) {
	w.u32(26)
}

func (msgRequestKeepConnections) json() any {
	return "KeepConnections"
}

// msgRequestUnknown is of a later version; what it holds was not read.
type msgRequestUnknown struct {
	tag uint32
}

func (msgRequestUnknown) isRequest() {}

func (v msgRequestUnknown) write(w *msgWriter) {
	w.u32(v.tag)
}

func (v msgRequestUnknown) json() any {
	return map[string]any{"Unknown": v.tag}
}

func (r *msgReader) msgRequest() msgRequest {
	switch tag := r.u32(); tag {
	case 0:
		return msgRequestListen{r.protocol(), r.msgScope(), r.msgCallMode()}
	case 1:
		return msgRequestUnlisten{r.protocol(), r.msgScope()}
	case 2:
		return msgRequestCall{r.msgTarget(), r.protocol(), r.bytes(), r.u32()}
	case 3:
		return msgRequestRefuseStream{r.u64(), r.msgFailure()}
	case 4:
		return msgRequestPeers{}
	case 5:
		return msgRequestNode{}
	case 6:
		return msgRequestWatchPeers{r.bool()}
	case 7:
		return msgRequestReady{}
	case 8:
		return msgRequestPing{}
	case 9:
		return msgRequestPublish{r.name(), r.bytes()}
	case 10:
		return msgRequestSubscribe{r.name(), r.msgValidation()}
	case 11:
		return msgRequestUnsubscribe{r.name()}
	case 12:
		return msgRequestJudge{r.name(), r.hash(), r.msgVerdict()}
	case 13:
		return msgRequestTopic{r.name()}
	case 14:
		return msgRequestPutImmutable{r.name(), r.bytes(), r.u32()}
	case 15:
		return msgRequestGetImmutable{r.name(), r.hash(), r.u32()}
	case 16:
		return msgRequestPutOwn{r.name(), r.bytes(), r.u32(), r.u32()}
	case 17:
		return msgRequestPutSigned{r.msgSignedRecord(), r.u32()}
	case 18:
		return msgRequestGetSigned{r.node(), r.name(), r.u32()}
	case 19:
		return msgRequestProvide{r.name(), r.u32()}
	case 20:
		return msgRequestUnprovide{r.name()}
	case 21:
		return msgRequestFindProviders{r.name(), r.u32(), r.u32()}
	case 22:
		return msgRequestFindPeer{r.node(), r.u32()}
	case 23:
		return msgRequestSendDatagram{r.node(), r.protocol(), r.bytes()}
	case 24:
		return msgRequestReceiveDatagrams{r.protocol(), r.bool()}
	case 25:
		return msgRequestWatchNetwork{r.bool()}
	case 26:
		return msgRequestKeepConnections{}
	default:
		r.b = nil
		return msgRequestUnknown{tag}
	}
}

type msgClientFrame interface {
	msgValue
	isClientFrame()
}

type msgClientFrameRequest struct {
	id      uint64
	request msgRequest
}

func (msgClientFrameRequest) isClientFrame() {}

func (v msgClientFrameRequest) write(w *msgWriter) {
	w.u32(0)
	w.u64(v.id)
	v.request.write(w)
}

func (v msgClientFrameRequest) json() any {
	return map[string]any{"Request": map[string]any{"id": v.id, "request": v.request.json()}}
}

type msgClientFrameCancel struct {
	id uint64
}

func (msgClientFrameCancel) isClientFrame() {}

func (v msgClientFrameCancel) write(w *msgWriter) {
	w.u32(1)
	w.u64(v.id)
}

func (v msgClientFrameCancel) json() any {
	return map[string]any{"Cancel": map[string]any{"id": v.id}}
}

type msgClientFrameAnswer struct {
	call    uint64
	payload []byte
}

func (msgClientFrameAnswer) isClientFrame() {}

func (v msgClientFrameAnswer) write(w *msgWriter) {
	w.u32(2)
	w.u64(v.call)
	w.bytes(v.payload)
}

func (v msgClientFrameAnswer) json() any {
	return map[string]any{"Answer": map[string]any{"call": v.call, "payload": msgJSONHex(v.payload)}}
}

type msgClientFrameDecline struct {
	call    uint64
	failure msgFailure
}

func (msgClientFrameDecline) isClientFrame() {}

func (v msgClientFrameDecline) write(w *msgWriter) {
	w.u32(3)
	w.u64(v.call)
	v.failure.write(w)
}

func (v msgClientFrameDecline) json() any {
	return map[string]any{"Decline": map[string]any{"call": v.call, "failure": v.failure.json()}}
}

type msgClientFrameAlive struct{}

func (msgClientFrameAlive) isClientFrame() {}

func (msgClientFrameAlive) write(w *msgWriter) {
	w.u32(4)
}

func (msgClientFrameAlive) json() any {
	return "Alive"
}

func (r *msgReader) msgClientFrame() msgClientFrame {
	switch tag := r.u32(); tag {
	case 0:
		return msgClientFrameRequest{r.u64(), r.msgRequest()}
	case 1:
		return msgClientFrameCancel{r.u64()}
	case 2:
		return msgClientFrameAnswer{r.u64(), r.bytes()}
	case 3:
		return msgClientFrameDecline{r.u64(), r.msgFailure()}
	case 4:
		return msgClientFrameAlive{}
	default:
		r.fail("unknown ClientFrame %d", tag)
		return nil
	}
}

func decodeMsgClientFrame(body []byte) (msgClientFrame, error) {
	return decodeMsg(body, (*msgReader).msgClientFrame)
}

type msgPath uint32

const (
	msgPathDirect  msgPath = 0
	msgPathRelayed msgPath = 1
)

func (r *msgReader) msgPath() msgPath {
	return msgPath(r.choice("Path", 2))
}

func (v msgPath) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgPath) json() any {
	return []string{"Direct", "Relayed"}[v]
}

type msgPeerInfo struct {
	node        msgNode
	path        msgPath
	rttUS       uint64
	connectedMS uint64
	protocols   []string
}

func (r *msgReader) msgPeerInfo() msgPeerInfo {
	return msgPeerInfo{r.node(), r.msgPath(), r.u64(), r.u64(), msgList(r, maxFrame, r.protocol)}
}

func (v msgPeerInfo) write(w *msgWriter) {
	w.node(v.node)
	v.path.write(w)
	w.u64(v.rttUS)
	w.u64(v.connectedMS)
	w.u64(uint64(len(v.protocols)))
	for _, item := range v.protocols {
		w.protocol(item)
	}
}

func (v msgPeerInfo) json() any {
	return map[string]any{"node": msgJSONNode(v.node), "path": v.path.json(), "rtt_us": v.rttUS, "connected_ms": v.connectedMS, "protocols": msgJSONList(v.protocols, msgJSONText)}
}

type msgNodeInfo struct {
	node     msgNode
	ticket   string
	version  string
	uptimeMS uint64
}

func (r *msgReader) msgNodeInfo() msgNodeInfo {
	return msgNodeInfo{r.node(), r.ticket(), r.text(), r.u64()}
}

func (v msgNodeInfo) write(w *msgWriter) {
	w.node(v.node)
	w.ticket(v.ticket)
	w.text(v.version)
	w.u64(v.uptimeMS)
}

func (v msgNodeInfo) json() any {
	return map[string]any{"node": msgJSONNode(v.node), "ticket": v.ticket, "version": v.version, "uptime_ms": v.uptimeMS}
}

type msgTopicInfo struct {
	neighbours uint32
	delivered  uint64
	duplicates uint64
	dropped    uint64
	pulled     uint64
}

func (r *msgReader) msgTopicInfo() msgTopicInfo {
	return msgTopicInfo{r.u32(), r.u64(), r.u64(), r.u64(), r.u64()}
}

func (v msgTopicInfo) write(w *msgWriter) {
	w.u32(v.neighbours)
	w.u64(v.delivered)
	w.u64(v.duplicates)
	w.u64(v.dropped)
	w.u64(v.pulled)
}

func (v msgTopicInfo) json() any {
	return map[string]any{"neighbours": v.neighbours, "delivered": v.delivered, "duplicates": v.duplicates, "dropped": v.dropped, "pulled": v.pulled}
}

type msgResponse interface {
	msgValue
	isResponse()
}

type msgResponseFailed struct {
	value msgFailure
}

func (msgResponseFailed) isResponse() {}

func (v msgResponseFailed) write(w *msgWriter) {
	w.u32(0)
	v.value.write(w)
}

func (v msgResponseFailed) json() any {
	return map[string]any{"Failed": v.value.json()}
}

type msgResponseDone struct{}

func (msgResponseDone) isResponse() {}

func (msgResponseDone) write(w *msgWriter) {
	w.u32(1)
}

func (msgResponseDone) json() any {
	return "Done"
}

type msgResponseReply struct {
	payload []byte
}

func (msgResponseReply) isResponse() {}

func (v msgResponseReply) write(w *msgWriter) {
	w.u32(2)
	w.bytes(v.payload)
}

func (v msgResponseReply) json() any {
	return map[string]any{"Reply": map[string]any{"payload": msgJSONHex(v.payload)}}
}

type msgResponsePeers struct {
	value []msgPeerInfo
}

func (msgResponsePeers) isResponse() {}

func (v msgResponsePeers) write(w *msgWriter) {
	w.u32(3)
	w.u64(uint64(len(v.value)))
	for _, item := range v.value {
		item.write(w)
	}
}

func (v msgResponsePeers) json() any {
	return map[string]any{"Peers": msgJSONList(v.value, msgPeerInfo.json)}
}

type msgResponseNode struct {
	value msgNodeInfo
}

func (msgResponseNode) isResponse() {}

func (v msgResponseNode) write(w *msgWriter) {
	w.u32(4)
	v.value.write(w)
}

func (v msgResponseNode) json() any {
	return map[string]any{"Node": v.value.json()}
}

type msgResponsePublished struct {
	message msgHash
	peers   uint32
}

func (msgResponsePublished) isResponse() {}

func (v msgResponsePublished) write(w *msgWriter) {
	w.u32(5)
	w.hash(v.message)
	w.u32(v.peers)
}

func (v msgResponsePublished) json() any {
	return map[string]any{"Published": map[string]any{"message": msgJSONHex(v.message[:]), "peers": v.peers}}
}

type msgResponseTopic struct {
	value msgTopicInfo
}

func (msgResponseTopic) isResponse() {}

func (v msgResponseTopic) write(w *msgWriter) {
	w.u32(6)
	v.value.write(w)
}

func (v msgResponseTopic) json() any {
	return map[string]any{"Topic": v.value.json()}
}

type msgResponseStored struct {
	key      msgHash
	sequence uint64
	copies   uint32
}

func (msgResponseStored) isResponse() {}

func (v msgResponseStored) write(w *msgWriter) {
	w.u32(7)
	w.hash(v.key)
	w.u64(v.sequence)
	w.u32(v.copies)
}

func (v msgResponseStored) json() any {
	return map[string]any{"Stored": map[string]any{"key": msgJSONHex(v.key[:]), "sequence": v.sequence, "copies": v.copies}}
}

type msgResponseValue struct {
	value msgOption[[]byte]
}

func (msgResponseValue) isResponse() {}

func (v msgResponseValue) write(w *msgWriter) {
	w.u32(8)
	w.bool(v.value.some)
	if v.value.some {
		w.bytes(v.value.value)
	}
}

func (v msgResponseValue) json() any {
	return map[string]any{"Value": msgJSONOption(v.value, msgJSONHex)}
}

type msgResponseRecord struct {
	value msgOption[msgSignedRecord]
}

func (msgResponseRecord) isResponse() {}

func (v msgResponseRecord) write(w *msgWriter) {
	w.u32(9)
	w.bool(v.value.some)
	if v.value.some {
		v.value.value.write(w)
	}
}

func (v msgResponseRecord) json() any {
	return map[string]any{"Record": msgJSONOption(v.value, msgSignedRecord.json)}
}

type msgResponseProviders struct {
	value []msgNode
}

func (msgResponseProviders) isResponse() {}

func (v msgResponseProviders) write(w *msgWriter) {
	w.u32(10)
	w.u64(uint64(len(v.value)))
	for _, item := range v.value {
		w.node(item)
	}
}

func (v msgResponseProviders) json() any {
	return map[string]any{"Providers": msgJSONList(v.value, msgJSONNode)}
}

type msgResponseFound struct {
	value string
}

func (msgResponseFound) isResponse() {}

func (v msgResponseFound) write(w *msgWriter) {
	w.u32(11)
	w.ticket(v.value)
}

func (v msgResponseFound) json() any {
	return map[string]any{"Found": v.value}
}

// msgResponseUnknown is of a later version; what it holds was not read.
type msgResponseUnknown struct {
	tag uint32
}

func (msgResponseUnknown) isResponse() {}

func (v msgResponseUnknown) write(w *msgWriter) {
	w.u32(v.tag)
}

func (v msgResponseUnknown) json() any {
	return map[string]any{"Unknown": v.tag}
}

func (r *msgReader) msgResponse() msgResponse {
	switch tag := r.u32(); tag {
	case 0:
		return msgResponseFailed{r.msgFailure()}
	case 1:
		return msgResponseDone{}
	case 2:
		return msgResponseReply{r.bytes()}
	case 3:
		return msgResponsePeers{msgList(r, maxFrame, r.msgPeerInfo)}
	case 4:
		return msgResponseNode{r.msgNodeInfo()}
	case 5:
		return msgResponsePublished{r.hash(), r.u32()}
	case 6:
		return msgResponseTopic{r.msgTopicInfo()}
	case 7:
		return msgResponseStored{r.hash(), r.u64(), r.u32()}
	case 8:
		return msgResponseValue{msgOptional(r, r.bytes)}
	case 9:
		return msgResponseRecord{msgOptional(r, r.msgSignedRecord)}
	case 10:
		return msgResponseProviders{msgList(r, maxFrame, r.node)}
	case 11:
		return msgResponseFound{r.ticket()}
	default:
		r.b = nil
		return msgResponseUnknown{tag}
	}
}

type msgReach uint32

const (
	msgReachUnknown msgReach = 0
	msgReachPublic  msgReach = 1
	msgReachPrivate msgReach = 2
)

func (r *msgReader) msgReach() msgReach {
	return msgReach(r.choice("Reach", 3))
}

func (v msgReach) write(w *msgWriter) {
	w.u32(uint32(v))
}

func (v msgReach) json() any {
	return []string{"Unknown", "Public", "Private"}[v]
}

type msgNetworkChange interface {
	msgValue
	isNetworkChange()
}

type msgNetworkChangePath struct {
	node msgNode
	path msgPath
}

func (msgNetworkChangePath) isNetworkChange() {}

func (v msgNetworkChangePath) write(w *msgWriter) {
	w.u32(0)
	w.node(v.node)
	v.path.write(w)
}

func (v msgNetworkChangePath) json() any {
	return map[string]any{"Path": map[string]any{"node": msgJSONNode(v.node), "path": v.path.json()}}
}

type msgNetworkChangeReach struct {
	value msgReach
}

func (msgNetworkChangeReach) isNetworkChange() {}

func (v msgNetworkChangeReach) write(w *msgWriter) {
	w.u32(1)
	v.value.write(w)
}

func (v msgNetworkChangeReach) json() any {
	return map[string]any{"Reach": v.value.json()}
}

type msgNetworkChangeAddresses struct {
	value string
}

func (msgNetworkChangeAddresses) isNetworkChange() {}

func (v msgNetworkChangeAddresses) write(w *msgWriter) {
	w.u32(2)
	w.ticket(v.value)
}

func (v msgNetworkChangeAddresses) json() any {
	return map[string]any{"Addresses": v.value}
}

func (r *msgReader) msgNetworkChange() msgNetworkChange {
	switch tag := r.u32(); tag {
	case 0:
		return msgNetworkChangePath{r.node(), r.msgPath()}
	case 1:
		return msgNetworkChangeReach{r.msgReach()}
	case 2:
		return msgNetworkChangeAddresses{r.ticket()}
	default:
		r.fail("unknown NetworkChange %d", tag)
		return nil
	}
}

type msgEvent interface {
	msgValue
	isEvent()
}

type msgEventStream struct {
	stream   uint64
	origin   msgOrigin
	protocol string
}

func (msgEventStream) isEvent() {}

func (v msgEventStream) write(w *msgWriter) {
	w.u32(0)
	w.u64(v.stream)
	v.origin.write(w)
	w.protocol(v.protocol)
}

func (v msgEventStream) json() any {
	return map[string]any{"Stream": map[string]any{"stream": v.stream, "origin": v.origin.json(), "protocol": v.protocol}}
}

type msgEventStreamGone struct {
	stream  uint64
	failure msgFailure
}

func (msgEventStreamGone) isEvent() {}

func (v msgEventStreamGone) write(w *msgWriter) {
	w.u32(1)
	w.u64(v.stream)
	v.failure.write(w)
}

func (v msgEventStreamGone) json() any {
	return map[string]any{"StreamGone": map[string]any{"stream": v.stream, "failure": v.failure.json()}}
}

type msgEventCall struct {
	call     uint64
	origin   msgOrigin
	protocol string
	payload  []byte
}

func (msgEventCall) isEvent() {}

func (v msgEventCall) write(w *msgWriter) {
	w.u32(2)
	w.u64(v.call)
	v.origin.write(w)
	w.protocol(v.protocol)
	w.bytes(v.payload)
}

func (v msgEventCall) json() any {
	return map[string]any{"Call": map[string]any{"call": v.call, "origin": v.origin.json(), "protocol": v.protocol, "payload": msgJSONHex(v.payload)}}
}

type msgEventCallGone struct {
	call uint64
}

func (msgEventCallGone) isEvent() {}

func (v msgEventCallGone) write(w *msgWriter) {
	w.u32(3)
	w.u64(v.call)
}

func (v msgEventCallGone) json() any {
	return map[string]any{"CallGone": map[string]any{"call": v.call}}
}

type msgEventPeerUp struct {
	value msgPeerInfo
}

func (msgEventPeerUp) isEvent() {}

func (v msgEventPeerUp) write(w *msgWriter) {
	w.u32(4)
	v.value.write(w)
}

func (v msgEventPeerUp) json() any {
	return map[string]any{"PeerUp": v.value.json()}
}

type msgEventPeerDown struct {
	node    msgNode
	failure msgFailure
}

func (msgEventPeerDown) isEvent() {}

func (v msgEventPeerDown) write(w *msgWriter) {
	w.u32(5)
	w.node(v.node)
	v.failure.write(w)
}

func (v msgEventPeerDown) json() any {
	return map[string]any{"PeerDown": map[string]any{"node": msgJSONNode(v.node), "failure": v.failure.json()}}
}

type msgEventGrantsChanged struct {
	value msgGrants
}

func (msgEventGrantsChanged) isEvent() {}

func (v msgEventGrantsChanged) write(w *msgWriter) {
	w.u32(6)
	v.value.write(w)
}

func (v msgEventGrantsChanged) json() any {
	return map[string]any{"GrantsChanged": v.value.json()}
}

type msgEventDropped struct {
	count uint64
}

func (msgEventDropped) isEvent() {}

func (v msgEventDropped) write(w *msgWriter) {
	w.u32(7)
	w.u64(v.count)
}

func (v msgEventDropped) json() any {
	return map[string]any{"Dropped": map[string]any{"count": v.count}}
}

type msgEventClosing struct {
	value msgFailure
}

func (msgEventClosing) isEvent() {}

func (v msgEventClosing) write(w *msgWriter) {
	w.u32(8)
	v.value.write(w)
}

func (v msgEventClosing) json() any {
	return map[string]any{"Closing": v.value.json()}
}

type msgEventMessage struct {
	topic   string
	message msgHash
	author  msgNode
	payload []byte
}

func (msgEventMessage) isEvent() {}

func (v msgEventMessage) write(w *msgWriter) {
	w.u32(9)
	w.name(v.topic)
	w.hash(v.message)
	w.node(v.author)
	w.bytes(v.payload)
}

func (v msgEventMessage) json() any {
	return map[string]any{"Message": map[string]any{"topic": v.topic, "message": msgJSONHex(v.message[:]), "author": msgJSONNode(v.author), "payload": msgJSONHex(v.payload)}}
}

type msgEventDatagram struct {
	node     msgNode
	protocol string
	payload  []byte
}

func (msgEventDatagram) isEvent() {}

func (v msgEventDatagram) write(w *msgWriter) {
	w.u32(10)
	w.node(v.node)
	w.protocol(v.protocol)
	w.bytes(v.payload)
}

func (v msgEventDatagram) json() any {
	return map[string]any{"Datagram": map[string]any{"node": msgJSONNode(v.node), "protocol": v.protocol, "payload": msgJSONHex(v.payload)}}
}

type msgEventNetwork struct {
	value msgNetworkChange
}

func (msgEventNetwork) isEvent() {}

func (v msgEventNetwork) write(w *msgWriter) {
	w.u32(11)
	v.value.write(w)
}

func (v msgEventNetwork) json() any {
	return map[string]any{"Network": v.value.json()}
}

type msgEventHeartbeat struct{}

func (msgEventHeartbeat) isEvent() {}

func (msgEventHeartbeat) write(w *msgWriter) {
	w.u32(12)
}

func (msgEventHeartbeat) json() any {
	return "Heartbeat"
}

// msgEventUnknown is of a later version; what it holds was not read.
type msgEventUnknown struct {
	tag uint32
}

func (msgEventUnknown) isEvent() {}

func (v msgEventUnknown) write(w *msgWriter) {
	w.u32(v.tag)
}

func (v msgEventUnknown) json() any {
	return map[string]any{"Unknown": v.tag}
}

func (r *msgReader) msgEvent() msgEvent {
	switch tag := r.u32(); tag {
	case 0:
		return msgEventStream{r.u64(), r.msgOrigin(), r.protocol()}
	case 1:
		return msgEventStreamGone{r.u64(), r.msgFailure()}
	case 2:
		return msgEventCall{r.u64(), r.msgOrigin(), r.protocol(), r.bytes()}
	case 3:
		return msgEventCallGone{r.u64()}
	case 4:
		return msgEventPeerUp{r.msgPeerInfo()}
	case 5:
		return msgEventPeerDown{r.node(), r.msgFailure()}
	case 6:
		return msgEventGrantsChanged{r.msgGrants()}
	case 7:
		return msgEventDropped{r.u64()}
	case 8:
		return msgEventClosing{r.msgFailure()}
	case 9:
		return msgEventMessage{r.name(), r.hash(), r.node(), r.bytes()}
	case 10:
		return msgEventDatagram{r.node(), r.protocol(), r.bytes()}
	case 11:
		return msgEventNetwork{r.msgNetworkChange()}
	case 12:
		return msgEventHeartbeat{}
	default:
		r.b = nil
		return msgEventUnknown{tag}
	}
}

type msgServerFrame interface {
	msgValue
	isServerFrame()
}

type msgServerFrameResponse struct {
	id       uint64
	response msgResponse
}

func (msgServerFrameResponse) isServerFrame() {}

func (v msgServerFrameResponse) write(w *msgWriter) {
	w.u32(0)
	w.u64(v.id)
	v.response.write(w)
}

func (v msgServerFrameResponse) json() any {
	return map[string]any{"Response": map[string]any{"id": v.id, "response": v.response.json()}}
}

type msgServerFrameEvent struct {
	value msgEvent
}

func (msgServerFrameEvent) isServerFrame() {}

func (v msgServerFrameEvent) write(w *msgWriter) {
	w.u32(1)
	v.value.write(w)
}

func (v msgServerFrameEvent) json() any {
	return map[string]any{"Event": v.value.json()}
}

func (r *msgReader) msgServerFrame() msgServerFrame {
	switch tag := r.u32(); tag {
	case 0:
		return msgServerFrameResponse{r.u64(), r.msgResponse()}
	case 1:
		return msgServerFrameEvent{r.msgEvent()}
	default:
		r.fail("unknown ServerFrame %d", tag)
		return nil
	}
}

func decodeMsgServerFrame(body []byte) (msgServerFrame, error) {
	return decodeMsg(body, (*msgReader).msgServerFrame)
}

package polypeer

import (
	"context"
	"fmt"
	"time"
)

const (
	maxValue     = 3072
	maxLifetime  = 24 * time.Hour
	maxProviders = 64
)

// Stored is a record in the DHT.
type Stored struct {
	Key      Hash   // the hash of an immutable value, otherwise the record's place
	Sequence uint64 // of a signed record
	Copies   int    // nodes that hold it
}

// PutRecord puts a value of at most 3,072 bytes under this node's id and a name, signed by the node; it replaces the
// previous one. It is valid for lifetime, a day at most (0: a day); until then the node republishes it. It needs the
// grant `dht`, and fails with [ErrUnreachable] when no node of the DHT is known. Several puts of one name may run at
// once: all succeed, and the value sent last stays.
func (n *Node) PutRecord(ctx context.Context, name string, value []byte, lifetime time.Duration) (Stored, error) {
	if len(value) > maxValue {
		return Stored{}, tooLarge("value", len(value), maxValue)
	}
	if lifetime < 0 || lifetime > maxLifetime || lifetime > 0 && lifetime < time.Second {
		return Stored{}, badArgument("a record lives 1 s to %v, not %v; republish it to keep it", maxLifetime, lifetime)
	}
	return n.put(ctx, func(ms uint32) msgRequest {
		return msgRequestPutOwn{name, value, uint32(lifetime / time.Second), ms}
	})
}

// PutSigned puts a record signed by [SignRecord], or by somebody else. It fails with [ErrBadArgument] when the
// signature is wrong, or the record has expired or expires in more than a day.
func (n *Node) PutSigned(ctx context.Context, record SignedRecord) (Stored, error) {
	if len(record.Value) > maxValue {
		return Stored{}, tooLarge("value", len(record.Value), maxValue)
	}
	return n.put(ctx, func(ms uint32) msgRequest { return msgRequestPutSigned{record.message(), ms} })
}

// GetRecord is the newest record of a node, or of any other key, under a name. found is false when no node
// asked has one. Netcore has verified the signature. It needs the grant `dht`.
func (n *Node) GetRecord(ctx context.Context, key NodeID, name string) (record SignedRecord, found bool, err error) {
	answer, err := expect[msgResponseRecord](n.askAgain(ctx, func(ms uint32) msgRequest {
		return msgRequestGetSigned{key, name, ms}
	}))
	if err != nil || !answer.value.some {
		return SignedRecord{}, false, err
	}
	return recordFrom(answer.value.value), true, nil
}

// PutImmutable puts a value of at most 3,072 bytes under a name and its own hash. It expires a day after the last put,
// by any node. It needs the grant `dht`.
func (n *Node) PutImmutable(ctx context.Context, name string, value []byte) (Hash, error) {
	if len(value) > maxValue {
		return Hash{}, tooLarge("value", len(value), maxValue)
	}
	stored, err := n.put(ctx, func(ms uint32) msgRequest { return msgRequestPutImmutable{name, value, ms} })
	return stored.Key, err
}

// GetImmutable is the value that PutImmutable stored; found is false when no node asked has it. It needs the grant
// `dht`.
func (n *Node) GetImmutable(ctx context.Context, name string, hash Hash) (value []byte, found bool, err error) {
	answer, err := expect[msgResponseValue](n.askAgain(ctx, func(ms uint32) msgRequest {
		return msgRequestGetImmutable{name, hash, ms}
	}))
	return answer.value.value, answer.value.some, err
}

// FindProviders is other providers of a name, at most limit (up to 64), in no order: those found before ctx ends (30 s
// without a deadline). It needs the grant `dht`.
func (n *Node) FindProviders(ctx context.Context, name string, limit int) ([]NodeID, error) {
	if limit < 1 || limit > maxProviders {
		return nil, badArgument("a limit of %d; expected 1 to %d", limit, maxProviders)
	}
	answer, err := expect[msgResponseProviders](n.askAgain(ctx, func(ms uint32) msgRequest {
		return msgRequestFindProviders{name, uint32(limit), ms}
	}))
	nodes := make([]NodeID, 0, len(answer.value))
	for _, node := range answer.value {
		nodes = append(nodes, node)
	}
	return nodes, err
}

// FindPeer is a ticket of a node, from its own signed address record; the grant `peers` must include it. It fails with
// [ErrUnknownPeer] when nothing was found.
func (n *Node) FindPeer(ctx context.Context, node NodeID) (ticket string, err error) {
	answer, err := expect[msgResponseFound](n.askAgain(ctx, func(ms uint32) msgRequest {
		return msgRequestFindPeer{node, ms}
	}))
	return answer.value, err
}

func (n *Node) put(ctx context.Context, request func(ms uint32) msgRequest) (Stored, error) {
	answer, err := expect[msgResponseStored](n.askAgain(ctx, request))
	return Stored{answer.key, answer.sequence, int(answer.copies)}, err
}

// askAgain sends an idempotent request, again when the session ends meanwhile. Netcore's timeout is a little shorter
// than the caller's, since its error says more.
func (n *Node) askAgain(ctx context.Context, request func(ms uint32) msgRequest) (msgResponse, error) {
	_, response, err := n.askSession(ctx, request)
	return response, err
}

// askSession is askAgain that also returns the session that answered.
func (n *Node) askSession(ctx context.Context, request func(ms uint32) msgRequest) (*session, msgResponse, error) {
	ctx, cancel, left := withDeadline(ctx)
	defer cancel()
	for {
		s, err := n.current(ctx)
		if err != nil {
			return nil, nil, err
		}
		ms := left()
		response, err := s.ask(ctx, request(ms-min(ms/10, 1000)))
		if err == nil || s.ctx.Err() == nil || ctx.Err() != nil {
			return s, response, err
		}
	}
}

// expect checks the kind of a response.
func expect[T msgResponse](response msgResponse, err error) (T, error) {
	answer, ok := response.(T)
	if err == nil && !ok {
		err = errUnexpected
	}
	return answer, err
}

func badArgument(format string, args ...any) error {
	return &Error{Code: CodeBadArgument, Message: fmt.Sprintf(format, args...)}
}

package polypeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxGossip = 64 << 10
	// messageQueue bounds the messages of a topic that wait for a reader (16 MiB at most), and those that wait for a
	// validator: netcore waits for the same number of verdicts.
	messageQueue = 256
	// judgeTime is how long netcore waits for a verdict.
	judgeTime = 10 * time.Second
)

// Verdict is a decision on a message published by another node.
type Verdict uint32

// The verdicts. Without one, a message is ignored after 10 s.
const (
	Accept Verdict = iota // pass it on to other peers
	Ignore                // drop it, without blaming anybody
	Reject                // drop it, and count it against its author, if received directly from there
)

// Message is a message of a topic. Netcore has verified its signature by Author.
type Message struct {
	Topic   string
	ID      Hash   // the same on every node
	Author  NodeID // the node that published it
	Payload []byte // at most 64 KiB

	judge *judge
}

// judge sends the verdict on one message, once.
type judge struct {
	subscription *Subscription
	session      *session
	late         time.Time // from then on a verdict has no effect
	once         sync.Once
}

// Judge sends the verdict on a message of a subscription with [ManualValidation]; otherwise it does nothing. Only the
// first verdict counts; one later than 10 s after the message has no effect. It returns when netcore has the verdict or
// cannot be reached.
func (m *Message) Judge(verdict Verdict) {
	if m.judge == nil {
		return
	}
	m.judge.once.Do(func() {
		s := m.judge.session
		m.judge.subscription.known.decide(m.ID, verdict)
		ctx, cancel := context.WithTimeout(s.ctx, judgeTime)
		defer cancel()
		if _, err := s.ask(ctx, m.verdict(verdict)); err != nil {
			m.judge.subscription.unsent.Add(1)
		}
	})
}

// abandon ignores a message, without waiting; for the reading goroutine. If the queue to netcore is full, netcore
// ignores the message after its timeout.
func (m *Message) abandon() {
	if m.judge == nil {
		return
	}
	m.judge.once.Do(func() {
		s := m.judge.session
		s.trySend(msgClientFrameRequest{s.number(), m.verdict(Ignore)})
	})
}

func (m *Message) verdict(verdict Verdict) msgRequest {
	return msgRequestJudge{m.Topic, m.ID, msgVerdict(verdict)}
}

// Validator decides on one message; see [WithValidator]. ctx ends when the verdict would be too late, 10 s after the
// message.
type Validator func(ctx context.Context, message *Message) Verdict

// SubscribeOption changes what [Node.Subscribe] does.
type SubscribeOption func(*Subscription)

// WithValidator passes on and delivers only messages that validate accepts. It is called for one message at a time, in
// order of arrival; messages that wait too long for their turn are dropped and counted.
func WithValidator(validate Validator) SubscribeOption {
	return func(s *Subscription) { s.validate, s.manual = validate, false }
}

// ManualValidation delivers every message, and passes on those that [Message.Judge] accepts.
func ManualValidation() SubscribeOption {
	return func(s *Subscription) { s.validate, s.manual = nil, true }
}

// Subscription is the messages of a topic. It continues across restarts of the network core, which then delivers the
// messages of the last minutes; those delivered before are dropped.
type Subscription struct {
	node     *Node
	topic    string
	validate Validator
	manual   bool
	messages *inbox[*Message]
	checks   *inbox[*Message] // those that wait for the validator
	known    knownMessages
	late     atomic.Uint64 // messages too late for a verdict when their turn came
	unsent   atomic.Uint64
}

// Subscribe receives a topic's messages; it needs the grant `topics`. Each is delivered once, in no order (after a
// restart of the network core, duplicates of the last 1,024 are recognised); this plugin's own are not delivered. 256
// are queued; then the oldest is dropped and counted. ctx bounds only the call itself.
func (n *Node) Subscribe(ctx context.Context, topic string, options ...SubscribeOption) (*Subscription, error) {
	s := &Subscription{node: n, topic: topic, messages: newInbox[*Message](messageQueue), checks: newInbox[*Message](messageQueue)}
	for _, option := range options {
		option(s)
	}
	if s.validate != nil {
		go s.check()
	}
	if err := n.beginFeed(ctx, s.key(), s); err != nil {
		s.fail(err)
		return nil, err
	}
	return s, nil
}

// Topic is the topic subscribed to.
func (s *Subscription) Topic() string { return s.topic }

// Next waits for a message. It fails only when the subscription or ctx ends: net.ErrClosed after Close,
// [ErrNotGranted] when the operator revoked the grant, or why the node has no more sessions.
func (s *Subscription) Next(ctx context.Context) (*Message, error) { return s.messages.take(ctx) }

// All is the messages as a sequence for range (Go 1.23), until Next fails or ctx ends.
func (s *Subscription) All(ctx context.Context) func(yield func(*Message) bool) {
	return func(yield func(*Message) bool) {
		for {
			message, err := s.Next(ctx)
			if err != nil || !yield(message) {
				return
			}
		}
	}
}

// Dropped counts the messages dropped here because they were not read in time or the validator was too slow.
func (s *Subscription) Dropped() uint64 { return s.messages.lost() + s.checks.lost() + s.late.Load() }

// VerdictsLost counts the verdicts that could not be sent because netcore was down or did not read; those messages were
// ignored.
func (s *Subscription) VerdictsLost() uint64 { return s.unsent.Load() }

// Info is the topic's counters.
func (s *Subscription) Info(ctx context.Context) (TopicInfo, error) {
	return s.node.TopicInfo(ctx, s.topic)
}

// Close ends the subscription; queued messages can still be read.
func (s *Subscription) Close() error {
	s.fail(net.ErrClosed)
	s.node.endFeed(s.key(), s)
	return nil
}

func (s *Subscription) key() feedKey { return feedKey{name: s.topic} }

func (s *Subscription) begin() msgRequest {
	if s.manual || s.validate != nil {
		return msgRequestSubscribe{s.topic, msgValidationPlugin}
	}
	return msgRequestSubscribe{s.topic, msgValidationSignature}
}

func (s *Subscription) end() msgRequest { return msgRequestUnsubscribe{s.topic} }

func (s *Subscription) fail(err error) {
	s.messages.fail(err)
	s.checks.fail(err)
}

// onMessage queues a message. It runs on the reading goroutine and never waits.
func (s *Subscription) onMessage(from *session, event msgEventMessage) {
	if decided, known := s.known.enter(event.message); known {
		if s.validate != nil || s.manual { // netcore has restarted, and needs the verdict again
			if !from.trySend(msgClientFrameRequest{from.number(), msgRequestJudge{event.topic, event.message, msgVerdict(decided)}}) {
				s.unsent.Add(1)
			}
		}
		return
	}
	message := &Message{Topic: event.topic, ID: event.message, Author: event.author, Payload: event.payload}
	queue := s.messages
	if s.manual || s.validate != nil {
		message.judge = &judge{subscription: s, session: from, late: time.Now().Add(judgeTime)}
	}
	if s.validate != nil {
		queue = s.checks
	}
	if lost, full := queue.add(message); full {
		lost.abandon()
	}
}

// check runs the validator until the subscription ends.
func (s *Subscription) check() {
	for {
		message, err := s.checks.take(context.Background())
		if err != nil {
			return
		}
		ctx, cancel := context.WithDeadline(message.judge.session.ctx, message.judge.late)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
			s.late.Add(1)
			continue
		}
		verdict := s.validate(ctx, message)
		cancel()
		message.Judge(verdict)
		if verdict == Accept {
			s.messages.add(message)
		}
	}
}

// Published is a published message.
type Published struct {
	Message Hash // its id, the same on every node
	Peers   int  // sent to at once; 0: no other subscriber is known yet, and it is kept a while for later ones
}

// Publish sends a message of at most 64 KiB to all subscribers of a topic; it needs the grant `topics`, and no
// subscription. When the session ends first it fails with [ErrConnectionLost] and may have been sent.
func (n *Node) Publish(ctx context.Context, topic string, payload []byte) (Published, error) {
	if len(payload) > maxGossip {
		return Published{}, tooLarge("message", len(payload), maxGossip)
	}
	answer, err := expect[msgResponsePublished](n.askBounded(ctx, msgRequestPublish{topic, payload}))
	return Published{answer.message, int(answer.peers)}, err
}

// TopicInfo is the counters of a topic since the node subscribed.
type TopicInfo struct {
	Neighbours int    // subscribed peers with which the node exchanges the topic's messages
	Delivered  uint64 // messages delivered to plugins, each once; unread ones are in [Node.EventsDropped]
	Duplicates uint64 // duplicates received
	Dropped    uint64 // messages dropped: a wrong signature, rejected, too old, no room
	Pulled     uint64 // messages that the node had missed and pulled from a neighbour
}

// TopicInfo is the counters of a subscribed topic; without a subscription it fails with [ErrBadArgument].
func (n *Node) TopicInfo(ctx context.Context, topic string) (TopicInfo, error) {
	answer, err := expect[msgResponseTopic](n.askAgain(ctx, func(uint32) msgRequest { return msgRequestTopic{topic} }))
	v := answer.value
	return TopicInfo{int(v.neighbours), v.delivered, v.duplicates, v.dropped, v.pulled}, err
}

func tooLarge(what string, size, limit int) error {
	return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("%s of %d bytes; the limit is %d", what, size, limit)}
}

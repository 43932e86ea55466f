package polypeer

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

func subscribe(t *testing.T, n *Node, options ...SubscribeOption) *Subscription {
	t.Helper()
	sub, err := n.Subscribe(within(t), "news", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	return sub
}

func publish(t *testing.T, n *Node, payload string) Published {
	t.Helper()
	published, err := n.Publish(within(t), "news", []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return published
}

func next(t *testing.T, sub *Subscription) *Message {
	t.Helper()
	message, err := sub.Next(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestPublishedMessageReachesSubscriber(t *testing.T) {
	_, _, a, b := two(t)
	sub := subscribe(t, b)
	published := publish(t, a, "hello")
	got := next(t, sub)
	if string(got.Payload) != "hello" || got.Author != a.ID() || got.Topic != "news" || got.ID != published.Message || published.Peers != 1 {
		t.Errorf("%+v of %+v", got, published)
	}
	if info, err := sub.Info(within(t)); err != nil || (info != TopicInfo{5, 4, 3, 2, 1}) {
		t.Error(info, err)
	}
	if _, err := b.Subscribe(within(t), "news"); !errors.Is(err, ErrAlreadyServed) {
		t.Error("a second subscription:", err)
	}
	_ = sub.Close()
	if _, err := sub.Next(within(t)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if published := publish(t, a, "nobody"); published.Peers != 0 {
		t.Error("netcore was not told of the end")
	}
}

func TestTooMuchIsRefusedBeforeItIsSent(t *testing.T) {
	_, _, a, b := two(t)
	_, publishing := a.Publish(within(t), "news", make([]byte, maxGossip+1))
	_, own := a.PutRecord(within(t), "a", make([]byte, maxValue+1), 0)
	_, immutable := a.PutImmutable(within(t), "a", make([]byte, maxValue+1))
	_, signed := a.PutSigned(within(t), SignedRecord{Name: "a", Value: make([]byte, maxValue+1)})
	sending := a.SendDatagram(within(t), b.ID(), "game/1", make([]byte, maxDatagram+1))
	for _, err := range []error{publishing, own, immutable, signed, sending} {
		if !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}
	_, long := a.PutRecord(within(t), "a", nil, 25*time.Hour)
	_, brief := a.PutRecord(within(t), "a", nil, time.Millisecond)
	_, none := a.FindProviders(within(t), "a", 0)
	_, many := a.FindProviders(within(t), "a", 65)
	_, name := a.Publish(within(t), "News", nil)
	_, sub := a.Subscribe(within(t), "chat/*")
	for _, err := range []error{long, brief, none, many, name, sub} {
		if !errors.Is(err, ErrBadArgument) {
			t.Error(err)
		}
	}
}

func TestWithoutGrantEverythingIsRefused(t *testing.T) {
	x, _, a, _ := two(t)
	x.allow(granting(nil, nil))
	_, publishing := a.Publish(within(t), "news", nil)
	_, subscribing := a.Subscribe(within(t), "news")
	_, putting := a.PutRecord(within(t), "a", nil, 0)
	_, immutable := a.PutImmutable(within(t), "a", nil)
	_, providing := a.Provide(within(t), "a")
	_, receiving := a.ListenPacket(within(t), "game/1")
	for _, err := range []error{publishing, subscribing, putting, immutable, providing, receiving} {
		if !errors.Is(err, ErrNotGranted) {
			t.Error(err)
		}
	}
}

func TestValidatorDecidesWhatIsPassedOnAndGivenOut(t *testing.T) {
	_, y, a, b := two(t)
	sub := subscribe(t, b, WithValidator(func(_ context.Context, m *Message) Verdict {
		return map[string]Verdict{"good": Accept, "dull": Ignore, "bad": Reject}[string(m.Payload)]
	}))
	for payload, want := range map[string]string{"dull": "Ignore", "bad": "Reject", "good": "Accept"} {
		published := publish(t, a, payload)
		if got := verdict(t, y); (got != fakeVerdict{"news", published.Message.String(), want}) {
			t.Errorf("%s: %+v", payload, got)
		}
	}
	if got := next(t, sub); string(got.Payload) != "good" {
		t.Errorf("%s was given out", got.Payload)
	}
}

func TestManualVerdictIsSentOnce(t *testing.T) {
	_, y, a, b := two(t)
	sub := subscribe(t, b, ManualValidation())
	for name, want := range map[string]Verdict{"Reject": Reject, "Accept": Accept} {
		publish(t, a, "hello")
		message := next(t, sub)
		message.Judge(want)
		message.Judge(Ignore)
		if got := verdict(t, y); got.Verdict != name || got.Message != message.ID.String() {
			t.Errorf("%+v", got)
		}
	}
	if err := b.Ping(within(t)); err != nil { // what was sent before it has arrived
		t.Fatal(err)
	}
	if made := len(requests[fakeVerdict](y, "Judge")); made != 2 {
		t.Errorf("%d verdicts", made)
	}
}

func TestSlowReaderLosesTheOldestAndIsToldHowMany(t *testing.T) {
	_, y, a, b := two(t)
	sub := subscribe(t, b, ManualValidation())
	const extra = 5
	for i := 0; i < messageQueue+extra; i++ {
		publish(t, a, fmt.Sprint(i))
	}
	for i := 0; i < extra; i++ { // those that were dropped are ignored
		if got := verdict(t, y); got.Verdict != "Ignore" {
			t.Errorf("%+v", got)
		}
	}
	if got := next(t, sub); string(got.Payload) != fmt.Sprint(extra) || sub.Dropped() != extra || sub.VerdictsLost() != 0 {
		t.Errorf("%s after %d dropped", got.Payload, sub.Dropped())
	}
}

func TestSubscriptionIsASequence(t *testing.T) {
	_, _, a, b := two(t)
	sub := subscribe(t, b)
	publish(t, a, "one")
	publish(t, a, "two")
	var got []string
	sub.All(within(t))(func(m *Message) bool {
		got = append(got, string(m.Payload))
		return len(got) < 2
	})
	if !reflect.DeepEqual(got, []string{"one", "two"}) {
		t.Error(got)
	}
}

func TestFeedsAndProvisionsComeBackAfterARestart(t *testing.T) {
	x, y, a, b := two(t)
	sub := subscribe(t, b)
	packets, err := b.ListenPacket(within(t), "game/1")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	provision, err := b.Provide(within(t), "rooms/1")
	if err != nil {
		t.Fatal(err)
	}
	y.crash()
	x.world.forgetProviders()
	y.restart()
	until(t, func() bool { return publish(t, a, "again").Peers == 1 })
	if got := next(t, sub); string(got.Payload) != "again" {
		t.Errorf("%s", got.Payload)
	}
	until(t, func() bool {
		found, err := a.FindProviders(within(t), "rooms/1", 1)
		return err == nil && len(found) == 1 && found[0] == b.ID()
	})
	until(t, func() bool {
		_ = a.SendDatagram(within(t), b.ID(), "game/1", []byte("hi"))
		_ = packets.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _, err := packets.ReadFrom(make([]byte, 10))
		return err == nil && n == 2
	})
	_ = provision.Close()
	if !errors.Is(provision.Err(), net.ErrClosed) {
		t.Error(provision.Err())
	}
	if found, err := a.FindProviders(within(t), "rooms/1", 1); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
}

func TestBusyTopicKeepsNothingElseFromComingBack(t *testing.T) {
	_, y, _, b := two(t)
	const topics = 10
	for i := 0; i < topics; i++ {
		sub, err := b.Subscribe(within(t), fmt.Sprint("news/", i))
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
	}
	if _, err := b.WatchPeers(within(t)); err != nil {
		t.Fatal(err)
	}
	y.crash()
	y.answer("Subscribe", "news/3", failedWith(CodeBusy))
	y.restart()
	until(t, func() bool {
		back := y.state()
		return len(back.Topics) == topics-1 && back.WatchesPeers
	})
	y.world.answerAll()
	until(t, func() bool { return len(y.state().Topics) == topics })
}

func TestMessagesThatComeAgainAfterARestartAreGivenOutOnce(t *testing.T) {
	x, y, _, b := two(t)
	sub := subscribe(t, b, WithValidator(func(_ context.Context, m *Message) Verdict {
		return map[string]Verdict{"good": Accept, "bad": Reject}[string(m.Payload)]
	}))
	comes := func(number byte, payload string) {
		y.event("Message", fields{
			"topic": "news", "message": Hash{number}.String(), "author": x.id.String(), "payload": hex.EncodeToString([]byte(payload)),
		})
	}
	for number, payload := range []string{"bad", "good"} {
		comes(byte(number), payload)
		verdict(t, y)
	}
	y.crash()
	y.restart()
	until(t, func() bool { return len(y.state().Topics) == 1 })
	for number, want := range map[byte]string{0: "Reject", 1: "Accept", 2: "Accept"} {
		comes(number, "good")
		if got := verdict(t, y); (got != fakeVerdict{"news", Hash{number}.String(), want}) {
			t.Errorf("%d: %+v", number, got)
		}
	}
	if first, second := next(t, sub), next(t, sub); first.ID != (Hash{1}) || second.ID != (Hash{2}) {
		t.Errorf("%v, then %v", first.ID, second.ID)
	}
}

func TestMemoryOfMessagesIsBounded(t *testing.T) {
	var m knownMessages
	id := func(i int) Hash { return Hash{byte(i), byte(i >> 8)} }
	for i := 0; i < 3*rememberedMessages; i++ {
		if _, known := m.enter(id(i)); known {
			t.Fatal(i, "was never seen")
		}
		m.decide(id(i), Accept)
	}
	if len(m.decided) != rememberedMessages || len(m.order) != rememberedMessages {
		t.Error(len(m.decided), len(m.order))
	}
	if decided, known := m.enter(id(3*rememberedMessages - 1)); !known || decided != Accept {
		t.Error("the last one is forgotten")
	}
	if decided, known := m.enter(id(2 * rememberedMessages)); !known || decided != Accept {
		t.Error("one in the bounds is forgotten")
	}
	m.decide(id(0), Accept)
	if _, known := m.enter(id(0)); known {
		t.Error("what was forgotten came back by a verdict")
	}
}

func TestMessageWhoseTimeIsOverIsNotValidated(t *testing.T) {
	_, _, a, b := two(t)
	sub := subscribe(t, b, WithValidator(func(context.Context, *Message) Verdict { return Accept }))
	b.mu.Lock()
	judge := &judge{subscription: sub, session: b.session, late: time.Now()}
	b.mu.Unlock()
	sub.checks.add(&Message{Topic: "news", judge: judge})
	publish(t, a, "in time")
	if got := next(t, sub); string(got.Payload) != "in time" || sub.Dropped() != 1 {
		t.Errorf("%s, %d dropped", got.Payload, sub.Dropped())
	}
}

func TestGrantThatIsTakenAwayEndsTheProvision(t *testing.T) {
	_, y, _, b := two(t)
	provision, err := b.Provide(within(t), "rooms/1")
	if err != nil {
		t.Fatal(err)
	}
	if provision.Copies() != 20 {
		t.Error(provision.Copies())
	}
	y.event("GrantsChanged", granting(nil, fields{"dht": []string{"other/*"}}))
	select {
	case <-provision.Done():
	case <-within(t).Done():
		t.Fatal("it goes on")
	}
	if err := provision.Err(); !errors.Is(err, ErrNotGranted) {
		t.Error(err)
	}
}

func TestGrantThatIsTakenAwayEndsTheFeed(t *testing.T) {
	_, y, _, b := two(t)
	sub := subscribe(t, b)
	y.event("GrantsChanged", granting(nil, fields{"topics": []string{"other/*"}}))
	if _, err := sub.Next(within(t)); !errors.Is(err, ErrNotGranted) {
		t.Error(err)
	}
}

func TestRecordsAreFoundByOthers(t *testing.T) {
	_, _, a, b := two(t)
	if _, found, err := b.GetRecord(within(t), a.ID(), "motd"); found || err != nil {
		t.Error("before it was put:", found, err)
	}
	if stored, err := a.PutRecord(within(t), "motd", []byte("one"), time.Hour); err != nil || stored.Sequence != 1 || stored.Copies != 20 {
		t.Error(stored, err)
	}
	record, found, err := b.GetRecord(within(t), a.ID(), "motd")
	if err != nil || !found || string(record.Value) != "one" || record.Key != a.ID() || time.Until(record.Expires) > time.Hour {
		t.Error(record, found, err)
	}
	hash, err := a.PutImmutable(within(t), "files", []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	value, found, err := b.GetImmutable(within(t), "files", hash)
	if err != nil || !found || string(value) != "value" {
		t.Error(value, found, err)
	}
	if _, found, err := b.GetImmutable(within(t), "files", Hash{}); found || err != nil {
		t.Error("another hash:", found, err)
	}
	if ticket, err := b.FindPeer(within(t), a.ID()); err != nil || ticket != "polypeer:"+a.ID().String()+"@127.0.0.1:1" {
		t.Error(ticket, err)
	}
	if _, err := b.FindPeer(within(t), NodeID{9}); !errors.Is(err, ErrUnknownPeer) {
		t.Error(err)
	}
}

func TestRecordOfAnOwnKeyIsPutAndChanged(t *testing.T) {
	_, _, a, b := two(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	record, err := SignRecord(private, "motd", 7, time.Now().Add(time.Hour), []byte("signed"))
	if err != nil || !record.Verify() {
		t.Fatal(record, err)
	}
	if stored, err := a.PutSigned(within(t), record); err != nil || stored.Sequence != 7 {
		t.Error(stored, err)
	}
	got, found, err := b.GetRecord(within(t), NodeID(public), "motd")
	if err != nil || !found || !got.Verify() || string(got.Value) != "signed" {
		t.Error(got, found, err)
	}
	record.Value = []byte("forged")
	if _, err := a.PutSigned(within(t), record); !errors.Is(err, ErrBadArgument) {
		t.Error(err)
	}
	if _, err := SignRecord(private, "Bad name", 1, time.Now(), nil); err == nil {
		t.Error("a name that is none was signed")
	}
	if _, err := SignRecord(nil, "motd", 1, time.Now(), nil); err == nil {
		t.Error("signed without a key")
	}
}

func TestNameIsProvidedOnceByAPlugin(t *testing.T) {
	_, _, a, _ := two(t)
	provision, err := a.Provide(within(t), "rooms/1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Provide(within(t), "rooms/1"); !errors.Is(err, ErrAlreadyServed) {
		t.Error(err)
	}
	_ = provision.Close()
	<-provision.Done()
	again, err := a.Provide(within(t), "rooms/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	<-again.Done()
	if !errors.Is(again.Err(), net.ErrClosed) {
		t.Error(again.Err())
	}
}

func TestWrongNamesAreRefusedWithTheRule(t *testing.T) {
	_, _, a, b := two(t)
	_, name := a.PutRecord(within(t), "Not A Name", nil, 0)
	_, protocol := a.Request(within(t), b.ID().String(), "chat", nil)
	for err, rule := range map[error]string{name: "expected 1 to 128 of a-z", protocol: "expected name/version"} {
		if !errors.Is(err, ErrBadArgument) || !strings.Contains(fmt.Sprint(err), rule) {
			t.Errorf("%q instead of %q", err, rule)
		}
	}
}

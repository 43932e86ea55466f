package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"polypeer"
)

// received is a message or datagram, as the test sees it.
type received struct {
	Author string `json:"author,omitempty"`
	Peer   string `json:"peer,omitempty"`
	Text   string `json:"text"`
	ID     string `json:"id,omitempty"`
}

// kept holds what was received, by topic or protocol.
type kept struct {
	mu    sync.Mutex
	items map[string][]received
	ends  map[string]func() error
}

var services = kept{items: map[string][]received{}, ends: map[string]func() error{}}

func (k *kept) add(name string, item received) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.items[name] = append(k.items[name], item)
}

func (k *kept) all(name string) []received {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]received{}, k.items[name]...)
}

func (k *kept) begin(name string, end func() error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends[name] = end
}

func (k *kept) end(name string) error {
	k.mu.Lock()
	end := k.ends[name]
	delete(k.ends, name)
	k.mu.Unlock()
	if end == nil {
		return fmt.Errorf("%s was not begun", name)
	}
	return end()
}

// serviceOrders holds the orders for topics, records, providers and datagrams.
var serviceOrders = map[string]func(context.Context, *polypeer.Node, order) (any, error){
	"subscribe":      subscribe,
	"unsubscribe":    func(_ context.Context, _ *polypeer.Node, o order) (any, error) { return nil, services.end(o.Topic) },
	"messages":       func(_ context.Context, _ *polypeer.Node, o order) (any, error) { return services.all(o.Topic), nil },
	"publish":        publish,
	"topic_info":     topicInfo,
	"put_record":     putRecord,
	"get_record":     getRecord,
	"put_immutable":  putImmutable,
	"get_immutable":  getImmutable,
	"put_forged":     putForged,
	"put_signed":     putSigned,
	"provide":        provide,
	"unprovide":      func(_ context.Context, _ *polypeer.Node, o order) (any, error) { return nil, services.end(o.Name) },
	"find_providers": findProviders,
	"find_peer":      findPeer,
	"receive":        receive,
	"datagrams":      func(_ context.Context, _ *polypeer.Node, o order) (any, error) { return services.all(o.Protocol), nil },
	"send_datagram":  sendDatagram,
}

func subscribe(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	var options []polypeer.SubscribeOption
	if o.Validate {
		options = append(options, polypeer.WithValidator(func(_ context.Context, m *polypeer.Message) polypeer.Verdict {
			switch text := string(m.Payload); {
			case strings.HasPrefix(text, "bad"):
				return polypeer.Reject
			case strings.HasPrefix(text, "dull"):
				return polypeer.Ignore
			}
			return polypeer.Accept
		}))
	}
	sub, err := node.Subscribe(ctx, o.Topic, options...)
	if err != nil {
		return nil, err
	}
	services.begin(o.Topic, sub.Close)
	go sub.All(context.Background())(func(m *polypeer.Message) bool {
		services.add(o.Topic, received{Author: m.Author.String(), Text: string(m.Payload), ID: m.ID.String()})
		return true
	})
	return nil, nil
}

func publish(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	published, err := node.Publish(ctx, o.Topic, []byte(o.Text))
	return published.Message, err
}

func topicInfo(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	info, err := node.TopicInfo(ctx, o.Topic)
	return map[string]any{
		"neighbours": info.Neighbours, "delivered": info.Delivered, "duplicates": info.Duplicates,
		"dropped": info.Dropped, "pulled": info.Pulled,
	}, err
}

func putRecord(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	stored, err := node.PutRecord(ctx, o.Name, []byte(o.Text), 10*time.Minute)
	return stored.Sequence, err
}

func getRecord(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	key, err := polypeer.ParseNodeID(o.Key)
	if err != nil {
		return nil, err
	}
	record, found, err := node.GetRecord(ctx, key, o.Name)
	if err != nil || !found {
		return nil, err
	}
	if !record.Verify() {
		return nil, errors.New("the record's signature is wrong")
	}
	return string(record.Value), nil
}

func putImmutable(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	return node.PutImmutable(ctx, o.Name, []byte(o.Text))
}

func getImmutable(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	hash, err := polypeer.ParseHash(o.Hash)
	if err != nil {
		return nil, err
	}
	value, found, err := node.GetImmutable(ctx, o.Name, hash)
	if err != nil || !found {
		return nil, err
	}
	return string(value), nil
}

// ownKey returns a key derived from name.
func ownKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func signed(o order) (polypeer.SignedRecord, error) {
	return polypeer.SignRecord(ownKey(o.Name), o.Name, o.Sequence, time.Now().Add(10*time.Minute), []byte(o.Text))
}

// putSigned stores a record signed with a key of the plugin, and returns the key.
func putSigned(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	record, err := signed(o)
	if err != nil {
		return nil, err
	}
	_, err = node.PutSigned(ctx, record)
	return record.Key, err
}

func putForged(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	record, err := signed(o)
	if err != nil {
		return nil, err
	}
	record.Value = []byte("forged")
	_, err = node.PutSigned(ctx, record)
	return nil, err
}

func provide(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	provision, err := node.Provide(ctx, o.Name)
	if err == nil {
		services.begin(o.Name, provision.Close)
	}
	return nil, err
}

func findProviders(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return node.FindProviders(ctx, o.Name, 16)
}

func findPeer(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	peer, err := polypeer.ParseNodeID(o.Peer)
	if err != nil {
		return nil, err
	}
	return node.FindPeer(ctx, peer)
}

func receive(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	conn, err := node.ListenPacket(ctx, o.Protocol)
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 1024)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			peer := from.(polypeer.Addr).Origin.Peer.String()
			services.add(o.Protocol, received{Peer: peer, Text: string(buf[:n])})
		}
	}()
	return nil, nil
}

func sendDatagram(ctx context.Context, node *polypeer.Node, o order) (any, error) {
	peer, err := polypeer.ParseNodeID(o.Peer)
	if err != nil {
		return nil, err
	}
	return nil, node.SendDatagram(ctx, peer, o.Protocol, []byte(o.Text))
}

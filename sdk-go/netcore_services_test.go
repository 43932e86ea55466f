//go:build unix

package polypeer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"polypeer"
	"polypeer/internal/netcoretest"
)

// neighbours is plugins of two real nodes that are connected.
func neighbours(t *testing.T) (a, b *polypeer.Node) {
	t.Helper()
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	a, b = x.Connect("one"), y.Connect("two")
	here, there := pair(t, a, b, y.Ticket(), "meet/1")
	_ = here.Close()
	_ = there.Close()
	return a, b
}

// settled tries for as long as nodes that have just started may fail.
func settled(t *testing.T, what string, try func(ctx context.Context) (bool, error)) {
	t.Helper()
	until(t, what, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		found, err := try(ctx)
		if err != nil && !errors.Is(err, polypeer.ErrUnreachable) && !errors.Is(err, polypeer.ErrBusy) && !errors.Is(err, polypeer.ErrTimedOut) {
			t.Fatal(what, ": ", err)
		}
		return err == nil && found
	})
}

func TestRealMessageReachesTheOtherNode(t *testing.T) {
	t.Parallel()
	a, b := neighbours(t)
	seen := make(chan string, 16)
	sub, err := b.Subscribe(within(t), "test/news", polypeer.WithValidator(func(_ context.Context, m *polypeer.Message) polypeer.Verdict {
		seen <- string(m.Payload)
		if string(m.Payload) == "bad" {
			return polypeer.Reject
		}
		return polypeer.Accept
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for _, text := range []string{"bad", "good"} {
		if _, err := a.Publish(within(t), "test/news", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	message, err := sub.Next(within(t))
	if err != nil || string(message.Payload) != "good" || message.Author != a.ID() {
		t.Fatal(message, err)
	}
	until(t, "both were judged", func() bool { return len(seen) == 2 })
	too, err := a.Subscribe(within(t), "test/news")
	if err != nil {
		t.Fatal(err)
	}
	defer too.Close()
	until(t, "they are neighbours", func() bool {
		info, err := sub.Info(within(t))
		return err == nil && info.Neighbours == 1
	})
	if sub.VerdictsLost() != 0 || sub.Dropped() != 0 {
		t.Error(sub.VerdictsLost(), sub.Dropped())
	}
}

func TestRealWatchOfPeersBeginsWithThoseThatAreUp(t *testing.T) {
	t.Parallel()
	a, b := neighbours(t)
	until(t, "they are connected", func() bool {
		peers, err := a.Peers(within(t))
		return err == nil && len(peers) == 1
	})
	for range 2 {
		ctx := within(t)
		events, err := a.WatchPeers(ctx)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case event := <-events:
			if event.Kind != polypeer.PeerUp || event.Node != b.ID() || event.Info.Node != b.ID() {
				t.Fatal(event)
			}
		case <-ctx.Done():
			t.Fatal("no event")
		}
	}
}

func TestRealRecordsAndProvidersAreFound(t *testing.T) {
	t.Parallel()
	a, b := neighbours(t)
	settled(t, "the record is put", func(ctx context.Context) (bool, error) {
		stored, err := a.PutRecord(ctx, "test/motd", []byte("one"), time.Minute)
		return stored.Copies > 0, err
	})
	settled(t, "the record is found", func(ctx context.Context) (bool, error) {
		record, found, err := b.GetRecord(ctx, a.ID(), "test/motd")
		if found && (!record.Verify() || string(record.Value) != "one") {
			t.Error(record)
		}
		return found, err
	})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	own, err := polypeer.SignRecord(key, "test/own", 7, time.Now().Add(time.Hour), []byte("own"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, "the plugin's own record is put", func(ctx context.Context) (bool, error) {
		stored, err := b.PutSigned(ctx, own)
		return stored.Sequence == 7, err
	})
	settled(t, "the plugin's own record is found", func(ctx context.Context) (bool, error) {
		record, found, err := a.GetRecord(ctx, own.Key, "test/own")
		return found && string(record.Value) == "own", err
	})
	own.Value = []byte("forged")
	if _, err := b.PutSigned(within(t), own); !errors.Is(err, polypeer.ErrBadArgument) {
		t.Error("a forged record:", err)
	}
	var provision *polypeer.Provision
	settled(t, "it is provided", func(ctx context.Context) (_ bool, err error) {
		provision, err = a.Provide(ctx, "test/files")
		return true, err
	})
	defer provision.Close()
	settled(t, "the provider is found", func(ctx context.Context) (bool, error) {
		found, err := b.FindProviders(ctx, "test/files", 1)
		return len(found) == 1 && found[0] == a.ID(), err
	})
}

func TestRealDatagramsArrive(t *testing.T) {
	t.Parallel()
	a, b := neighbours(t)
	conn, err := b.ListenPacket(within(t), "game/1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	settled(t, "a datagram arrives", func(ctx context.Context) (bool, error) {
		if err := a.SendDatagram(ctx, b.ID(), "game/1", []byte("move")); err != nil {
			return false, err
		}
		buf := make([]byte, 16)
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return false, nil // it was lost, or is late
		}
		return string(buf[:n]) == "move" && from.(polypeer.Addr).Origin.Peer == a.ID(), nil
	})
}

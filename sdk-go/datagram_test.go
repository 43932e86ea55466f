package polypeer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

func TestDatagramsAreAPacketConn(t *testing.T) {
	_, _, a, b := two(t)
	here, err := a.ListenPacket(within(t), "game/1")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := b.ListenPacket(within(t), "game/1")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := here.WriteTo([]byte("ping"), here.PeerAddr(b.ID())); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 3)
	n, from, err := there.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "pin" || from.(Addr).Origin.Peer != a.ID() {
		t.Error(string(buf[:n]), from, err)
	}
	if _, err := there.WriteTo([]byte("pong"), from); err != nil {
		t.Error(err)
	}
	if n, _, err := here.ReadFrom(buf); n != 3 || err != nil {
		t.Error(n, err)
	}
	if _, err := here.WriteTo(nil, &net.UDPAddr{}); !errors.Is(err, ErrBadArgument) {
		t.Error(err)
	}
	if _, err := here.WriteTo(nil, here.PeerAddr(NodeID{9})); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	_ = there.SetDeadline(time.Now().Add(-time.Second))
	if _, _, err := there.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if _, err := there.WriteTo(nil, from); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	_ = there.SetDeadline(time.Time{})
	reading := make(chan error, 1)
	go func() {
		_, _, err := there.ReadFrom(make([]byte, 1))
		reading <- err
	}()
	_ = there.Close()
	if err := <-reading; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := there.WriteTo(nil, from); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestDatagramsBeyondTheQueueAreCounted(t *testing.T) {
	_, _, a, b := two(t)
	there, err := b.ListenPacket(within(t), "game/1")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	for i := 0; i < datagramQueue+3; i++ {
		if err := a.SendDatagram(within(t), b.ID(), "game/1", []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return there.Dropped() == 3 })
	buf := make([]byte, 10)
	if n, _, err := there.ReadFrom(buf); err != nil || string(buf[:n]) != "3" {
		t.Error(string(buf[:n]), err)
	}
}

func TestChangesOfTheNetworkAreTold(t *testing.T) {
	_, y, _, b := two(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, err := b.WatchNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ticket := "polypeer:" + b.ID().String()
	begins := func(events <-chan NetworkEvent, reach Reach, ticket string) {
		t.Helper()
		got := map[NetworkEvent]bool{<-events: true, <-events: true}
		if !got[NetworkEvent{Kind: ReachChanged, Reach: reach}] || !got[NetworkEvent{Kind: AddressesChanged, Ticket: ticket}] {
			t.Errorf("it begins with %+v", got)
		}
	}
	begins(events, ReachUnknown, ticket)
	const address = "192.0.2.1:7470"
	ticket += "@" + address
	y.tells("Public", address)
	if !y.state().WatchesNetwork {
		t.Error("netcore was not asked")
	}
	for _, change := range []struct {
		told fields
		want NetworkEvent
	}{
		{fields{"Path": fields{"node": NodeID{1}.String(), "path": "Relayed"}}, NetworkEvent{Kind: PathChanged, Node: NodeID{1}, Path: Relayed}},
		{fields{"Reach": "Public"}, NetworkEvent{Kind: ReachChanged, Reach: ReachPublic}},
		{fields{"Addresses": ticket}, NetworkEvent{Kind: AddressesChanged, Ticket: ticket}},
	} {
		y.event("Network", change.told)
		if got := <-events; got != change.want {
			t.Errorf("%+v instead of %+v", got, change.want)
		}
	}
	y.event("Dropped", fields{"count": 7})
	if got := <-events; got.Kind != NetworkMissed || b.EventsDropped() != 7 {
		t.Errorf("%+v, %d dropped", got, b.EventsDropped())
	}
	// Who begins later learns how it is, and nobody else is told it again.
	late, err := b.WatchNetwork(ctx)
	if err != nil {
		t.Fatal(err)
	}
	begins(late, ReachPublic, ticket)
	// What became different while netcore was away is told.
	y.crash()
	y.tells("Private", address)
	y.restart()
	for _, want := range []NetworkEvent{{Kind: NetworkMissed}, {Kind: ReachChanged, Reach: ReachPrivate}} {
		if got := <-events; got != want {
			t.Errorf("%+v instead of %+v", got, want)
		}
	}
	cancel()
	for range events { // closed once it is over
	}
}

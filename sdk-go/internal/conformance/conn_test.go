//go:build unix

// Package conformance puts the SDK's streams through the checks of golang.org/x/net/nettest, on a real network core. It
// is a module of its own, so that the SDK needs no dependency.
package conformance

import (
	"context"
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"polypeer"
	"polypeer/internal/netcoretest"
)

func TestStreamBetweenNodesIsAConn(t *testing.T) {
	x, y := netcoretest.Start(t, "one"), netcoretest.Start(t, "two")
	from, to := x.Connect("one"), y.Connect("two")
	ticket := y.Ticket()
	ln, err := to.Listen(context.Background(), "test/1")
	if err != nil {
		t.Fatal(err)
	}
	nettest.TestConn(t, pipes(ln, func() (*polypeer.Conn, error) { return from.Dial(context.Background(), ticket, "test/1") }))
}

func TestStreamOnOneNodeIsAConn(t *testing.T) {
	x := netcoretest.Start(t, "one", "two")
	from, to := x.Connect("one"), x.Connect("two")
	ln, err := to.ListenLocal(context.Background(), "test/1")
	if err != nil {
		t.Fatal(err)
	}
	nettest.TestConn(t, pipes(ln, func() (*polypeer.Conn, error) { return from.DialLocal(context.Background(), "test/1") }))
}

func pipes(ln net.Listener, dial func() (*polypeer.Conn, error)) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := ln.Accept()
			accepted <- conn
		}()
		dialed, err := dial()
		if err != nil {
			return nil, nil, nil, err
		}
		c2 = <-accepted
		return dialed, c2, func() { _ = dialed.Close(); _ = c2.Close() }, nil
	}
}

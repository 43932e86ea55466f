// Package polypeer is for plugins of Polypeer: they accept and open streams to peers, send and answer requests, over
// the one node of this machine.
//
// A plugin starts with [Connect] and then uses the interfaces of the standard library: [Node.Listen] returns a
// net.Listener, [Node.Dial] a net.Conn, so http.Serve and http.Client work over the overlay unchanged.
//
//	node, err := polypeer.Connect(ctx)
//	ln, err := node.Listen(ctx, "hello/1")          // http.Serve(ln, mux)
//	conn, err := node.Dial(ctx, peer, "hello/1")    // peer: a node id or a ticket
//	reply, err := node.Request(ctx, peer, "hello/1", []byte("hi"))
//
// It can also publish and subscribe to topics ([Node.Publish], [Node.Subscribe]), store records in the DHT
// ([Node.PutRecord], [Node.GetRecord], [Node.Provide]), and exchange datagrams ([Node.ListenPacket], a net.PacketConn).
//
// The plugin may do what its manifest requests and the operator grants; anything else fails with [ErrNotGranted].
//
// # How streams end
//
// io.EOF means that the other end wrote everything and ended its direction ([Conn.CloseWrite] or [Conn.Close]). A
// [*StreamError] means that it aborted the stream ([Conn.Reset]) or stopped reading ([Conn.Stop]), with an
// application's code. An error for which errors.Is(err, ErrConnectionLost) holds means that the stream was cut: a
// process died, a link broke.
//
// # Restarts of the network core
//
// When the network core restarts, the node reconnects, at once and then with backoff. Listeners, services,
// subscriptions, provisions and watchers continue, Accept keeps waiting, and a Dial in progress is retried. Streams and
// requests in flight fail with [ErrConnectionLost]. The node ends only when another process of the same launch takes
// over ([ErrSuperseded]) or the launch has ended ([ErrUnauthorised]); [Node.Done] is then closed.
package polypeer

// Package polypeer lets a Go program be a plugin of Polypeer: accept and open streams to peers, ask and answer
// requests, all over the one node of this machine.
//
// A plugin starts with [Connect] and then uses what it knows from the standard library: [Node.Listen] gives a
// net.Listener, [Node.Dial] a net.Conn, so that http.Serve and http.Client work over the overlay as they are.
//
//	node, err := polypeer.Connect(ctx)
//	ln, err := node.Listen(ctx, "hello/1")          // http.Serve(ln, mux)
//	conn, err := node.Dial(ctx, peer, "hello/1")    // peer: a node id or a ticket
//	reply, err := node.Request(ctx, peer, "hello/1", []byte("hi"))
//
// It can also publish and subscribe to topics ([Node.Publish], [Node.Subscribe]), keep records in the network's hash table
// ([Node.PutRecord], [Node.GetRecord], [Node.Provide]), and exchange datagrams ([Node.ListenPacket], a net.PacketConn).
//
// What the plugin may do is what its manifest asked for and the operator granted; anything else fails with
// [ErrNotGranted].
//
// # How streams end
//
// io.EOF means that the other end wrote everything and said so ([Conn.CloseWrite] or [Conn.Close]). A [*StreamError]
// means that it gave up on purpose ([Conn.Reset]) or reads no more ([Conn.Stop]), with a code of the application's. An
// error for which errors.Is(err, ErrConnectionLost) holds means that the stream was cut: a process died, a link broke.
//
// # Restarts of the network core
//
// When the network core restarts, the node connects again by itself, at once and then with growing pauses: listeners,
// services, subscriptions, provisions and watchers go on, Accept keeps waiting, a Dial that was under way is tried again. Streams and requests in
// flight fail with [ErrConnectionLost]. Only when another process of the same launch takes over ([ErrSuperseded]) or
// the launch is over ([ErrUnauthorised]) does the node end; [Node.Done] tells.
package polypeer

package polypeer

import "context"

// feedKey names what a plugin receives until it stops: a node has one feed for each.
type feedKey struct {
	datagrams bool // of a protocol; otherwise the messages of a topic
	name      string
}

// covered reports whether the grants allow it.
func (k feedKey) covered(g Grants) bool {
	patterns := g.Topics
	if k.datagrams {
		patterns = g.Serve
	}
	return allowsAny(patterns, k.name)
}

func (k feedKey) String() string {
	if k.datagrams {
		return "the datagrams of " + k.name
	}
	return "the topic " + k.name
}

// feed is a [Subscription] or a [PacketConn]: asked for again in every session until it ends.
type feed interface {
	begin() msgRequest
	end() msgRequest
	fail(error)
}

// beginFeed adds a feed, and asks netcore for it.
func (n *Node) beginFeed(ctx context.Context, key feedKey, f feed) error {
	ctx, cancel, _ := withDeadline(ctx)
	defer cancel()
	n.mu.Lock()
	if n.err != nil {
		defer n.mu.Unlock()
		return n.err
	}
	if n.feeds[key] != nil {
		defer n.mu.Unlock()
		return &Error{Code: CodeAlreadyServed, Message: "this plugin receives " + key.String() + " already"}
	}
	n.feeds[key] = f
	n.mu.Unlock()
	err := n.announce(ctx, n.feedWanted(key, f))
	if err != nil {
		n.endFeed(key, f)
	}
	return err
}

// endFeed takes a feed away, and tells netcore.
func (n *Node) endFeed(key feedKey, f feed) {
	n.mu.Lock()
	mine := n.feeds[key] == f
	if mine {
		delete(n.feeds, key)
	}
	n.mu.Unlock()
	if mine {
		n.announceEnd(n.feedWanted(key, f))
	}
}

// feedWanted is what netcore is to know of what a feed stands for: begin it for whoever wants it now, or end it.
func (n *Node) feedWanted(key feedKey, f feed) wanted {
	return func() msgRequest {
		if wanted := n.feeds[key]; wanted != nil {
			return wanted.begin()
		}
		return f.end()
	}
}

// giveUpFeed ends a feed, unless another one took its place.
func (n *Node) giveUpFeed(key feedKey, f feed, err error) {
	n.mu.Lock()
	if n.feeds[key] == f {
		delete(n.feeds, key)
	}
	n.mu.Unlock()
	f.fail(err)
}

package polypeer

import "context"

// feedKey is the key of a feed: a node has at most one for each.
type feedKey struct {
	datagrams bool // of a protocol; otherwise of a topic
	name      string
}

// covered reports whether the grants allow the feed.
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

// feed is a [Subscription] or a [PacketConn]: restored in every session until it ends.
type feed interface {
	begin() msgRequest
	end() msgRequest
	fail(error)
}

// beginFeed adds a feed and requests it from netcore.
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

// endFeed removes a feed and tells netcore.
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

// feedWanted is the wanted state of a feed: begun by its present owner, or ended.
func (n *Node) feedWanted(key feedKey, f feed) wanted {
	return func() msgRequest {
		if wanted := n.feeds[key]; wanted != nil {
			return wanted.begin()
		}
		return f.end()
	}
}

// giveUpFeed ends a feed, unless another one has replaced it.
func (n *Node) giveUpFeed(key feedKey, f feed, err error) {
	n.mu.Lock()
	if n.feeds[key] == f {
		delete(n.feeds, key)
	}
	n.mu.Unlock()
	f.fail(err)
}

package polypeer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// provideDelays come before each try to provide a name again in a new session; the last one repeats. A network core that
// has just started needs a while to find the DHT.
var provideDelays = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

// Provision says in the DHT that this node provides something, until Close. It goes on across restarts of the network
// core.
type Provision struct {
	node   *Node
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	copies int

	mu   sync.Mutex
	err  error
	done chan struct{}
}

// Provide says in the DHT that this node provides what a name stands for; it needs the grant `dht`. It returns once
// that was said for the first time. Where no other node can list it yet, since none is known or this one cannot be
// dialed, it succeeds all the same, and [Provision.Copies] is 0: netcore goes on trying. ctx bounds only the call itself.
func (n *Node) Provide(ctx context.Context, name string) (*Provision, error) {
	p := &Provision{node: n, name: name, done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(n.ctx)
	n.mu.Lock()
	_, known := n.provided[name]
	if !known && n.err == nil {
		n.provided[name] = p
	}
	err := n.err
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if known {
		return nil, &Error{Code: CodeAlreadyServed, Message: "this plugin provides " + name + " already"}
	}
	s, answer, err := n.askSession(ctx, func(ms uint32) msgRequest { return msgRequestProvide{name, ms} })
	if err != nil {
		p.stop(err)
		return nil, err
	}
	if stored, ok := answer.(msgResponseStored); ok {
		p.copies = int(stored.copies)
	}
	go p.keep(s)
	return p, nil
}

// Done is closed when it is not provided any more; then Err says why.
func (p *Provision) Done() <-chan struct{} { return p.done }

// Err is why it is not provided any more: net.ErrClosed after Close, [ErrNotGranted] when the operator took the grant
// away, or why the node has no session any more.
func (p *Provision) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Copies is how many nodes listed it when that was said for the first time. 0: it is listed as soon as that is possible.
func (p *Provision) Copies() int { return p.copies }

// Close provides it no more; what others hold of it runs out by itself.
func (p *Provision) Close() error {
	p.stop(net.ErrClosed)
	return nil
}

// stop ends it, and tells netcore; the first reason stays.
func (p *Provision) stop(err error) {
	p.mu.Lock()
	first := p.err == nil
	if first {
		p.err = err
		close(p.done)
	}
	p.mu.Unlock()
	p.cancel()
	if !first {
		return
	}
	n := p.node
	n.mu.Lock()
	delete(n.provided, p.name)
	s := n.session
	n.mu.Unlock()
	if s != nil {
		ctx, cancel := context.WithTimeout(n.ctx, closeTime)
		defer cancel()
		_, _ = s.ask(ctx, msgRequestUnprovide{p.name}) // fails with the session, and then it is over anyway
	}
}

// keep asks again in every new session.
func (p *Provision) keep(s *session) {
	for {
		select {
		case <-s.ctx.Done():
		case <-p.ctx.Done():
			p.stop(p.ending())
			return
		}
		next, err := p.again()
		if err != nil {
			p.stop(err)
			return
		}
		s = next
	}
}

// again is the session in which it is provided.
func (p *Provision) again() (*session, error) {
	for tries := 0; ; {
		s, err := p.node.current(p.ctx)
		if err != nil {
			if p.ctx.Err() != nil {
				err = p.ending()
			}
			return nil, err
		}
		ctx, cancel := context.WithTimeout(p.ctx, defaultTimeout+time.Second)
		_, err = s.ask(ctx, msgRequestProvide{p.name, uint32(defaultTimeout / time.Millisecond)})
		cancel()
		switch {
		case err == nil:
			return s, nil
		case p.ctx.Err() != nil:
			return nil, p.ending()
		case s.ctx.Err() != nil:
			continue // the next session, once there is one
		case !passing(err) && !errors.Is(err, ErrUnreachable):
			return nil, err
		}
		delay := provideDelays[min(tries, len(provideDelays)-1)]
		tries++
		sleep(p.ctx, delay-time.Duration(rand.Float64()*float64(delay)/4))
	}
}

// ending is why p.ctx ended.
func (p *Provision) ending() error {
	if err := p.node.Err(); err != nil {
		return err
	}
	return net.ErrClosed
}

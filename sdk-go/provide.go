package polypeer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// provideDelays is the backoff between attempts to provide a name in a new session; the last one repeats. A network
// core that has just started needs a while to join the DHT.
var provideDelays = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

// Provision announces in the DHT that this node provides a name, until Close and across restarts of the network core.
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

// Provide announces in the DHT that this node provides a name; it needs the grant `dht`. It returns after the first
// announcement. It also succeeds while no other node can list it, because none is known or none can dial this one:
// [Provision.Copies] is then 0, and netcore retries. ctx bounds only the call itself.
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

// Done is closed when the name is no longer provided; then Err says why.
func (p *Provision) Done() <-chan struct{} { return p.done }

// Err is why the name is no longer provided: net.ErrClosed after Close, [ErrNotGranted] when the operator revoked the
// grant, or why the node has no more sessions.
func (p *Provision) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Copies is the number of nodes that listed it at first. 0: netcore retries until one does.
func (p *Provision) Copies() int { return p.copies }

// Close stops providing the name; the entries at other nodes expire.
func (p *Provision) Close() error {
	p.stop(net.ErrClosed)
	return nil
}

// stop ends the provision and tells netcore; the first reason stays.
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
		_, _ = s.ask(ctx, msgRequestUnprovide{p.name}) // fails only with the session, which ends it anyway
	}
}

// keep restores it in every new session.
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

// again restores it and returns the session that provides it.
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

package polypeer

import "sync"

// rememberedMessages bounds what a subscription knows again, with 32 bytes each. A network core that was restarted gets
// the messages of the last minutes once more.
const rememberedMessages = 1024

// knownMessages is the messages of late of a subscription, and what was decided on each. It outlives sessions.
type knownMessages struct {
	mu      sync.Mutex
	decided map[Hash]Verdict
	order   []Hash // a ring once it is full; next is the oldest
	next    int
}

// enter remembers a message. When it was known it says so, and what was decided; Ignore as long as nothing is.
func (m *knownMessages) enter(id Hash) (decided Verdict, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if decided, known = m.decided[id]; known {
		return decided, true
	}
	if m.decided == nil {
		m.decided = map[Hash]Verdict{}
	}
	if len(m.order) < rememberedMessages {
		m.order = append(m.order, id)
	} else {
		delete(m.decided, m.order[m.next])
		m.order[m.next] = id
		m.next = (m.next + 1) % rememberedMessages
	}
	m.decided[id] = Ignore
	return Ignore, false
}

// decide remembers the verdict on a message that is remembered.
func (m *knownMessages) decide(id Hash, verdict Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.decided[id]; known {
		m.decided[id] = verdict
	}
}

package polypeer

import "sync"

// rememberedMessages bounds the message ids a subscription keeps, 32 bytes each. After a restart the network core
// delivers the messages of the last minutes again.
const rememberedMessages = 1024

// knownMessages is the latest messages of a subscription, with their verdicts. It outlives sessions.
type knownMessages struct {
	mu      sync.Mutex
	decided map[Hash]Verdict
	order   []Hash // a ring once it is full; next is the oldest
	next    int
}

// enter adds a message. For a known one it returns the verdict, which is Ignore while there is none.
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

// decide records the verdict on a known message.
func (m *knownMessages) decide(id Hash, verdict Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.decided[id]; known {
		m.decided[id] = verdict
	}
}

package polypeer

import (
	"math/rand/v2"
	"time"
)

// backoff is the delay before the next attempt to connect: none at first, then from 50 ms doubling up to 2 s, with
// jitter, so that the plugins of a node do not reconnect all at once.
type backoff struct{ failures int }

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
	// stableAfter is how long a session must last to reset the backoff.
	stableAfter = 5 * time.Second
)

// next is the delay before the next attempt; random is in [0, 1).
func (b *backoff) next(random float64) time.Duration {
	b.failures++
	if b.failures == 1 {
		return 0
	}
	wait := min(backoffFirst<<min(b.failures-2, 10), backoffMost)
	return wait - time.Duration(random*float64(wait)/4)
}

// stood records how long a session lasted.
func (b *backoff) stood(d time.Duration) {
	if d >= stableAfter {
		b.failures = 0
	}
}

func (b *backoff) wait() time.Duration { return b.next(rand.Float64()) }

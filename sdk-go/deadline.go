package polypeer

import (
	"context"
	"time"
)

// defaultTimeout bounds an operation whose context has no deadline.
const defaultTimeout = 30 * time.Second

// withDeadline gives a context a deadline if it has none, and returns the time left in milliseconds, at least 1, since
// 0 means the default on the wire.
func withDeadline(ctx context.Context) (bounded context.Context, cancel context.CancelFunc, milliseconds func() uint32) {
	end, set := ctx.Deadline()
	if !set {
		// Longer than netcore's own timeout, whose error says more.
		bounded, cancel = context.WithTimeoutCause(ctx, defaultTimeout+2*time.Second, ErrTimedOut)
		end = time.Now().Add(defaultTimeout)
	} else {
		bounded, cancel = ctx, func() {}
	}
	return bounded, cancel, func() uint32 {
		left := time.Until(end)/time.Millisecond + 1
		return uint32(max(1, min(left, 1<<31)))
	}
}

// contextError is the error of an ended context: ErrTimedOut's for the default timeout, otherwise the context's own.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause == error(ErrTimedOut) {
		return &Error{Code: CodeTimedOut, Message: "no answer within 30 s"}
	}
	return ctx.Err()
}

// sleep waits, and reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

package polypeer

import (
	"context"
	"time"
)

// defaultTimeout is what an operation gets when its context has no deadline.
const defaultTimeout = 30 * time.Second

// withDeadline bounds a context without a deadline, and gives the time left as the wire has it. 0 there means 30 s.
func withDeadline(ctx context.Context) (bounded context.Context, cancel context.CancelFunc, milliseconds func() uint32) {
	end, set := ctx.Deadline()
	if !set {
		// A little more than netcore takes, so that its answer, which says more, comes first.
		bounded, cancel = context.WithTimeoutCause(ctx, defaultTimeout+2*time.Second, ErrTimedOut)
		end = time.Now().Add(defaultTimeout)
	} else {
		bounded, cancel = context.WithCancel(ctx)
	}
	return bounded, cancel, func() uint32 {
		left := time.Until(end)/time.Millisecond + 1
		return uint32(max(1, min(left, 1<<31)))
	}
}

// contextError is the error of a context that ended: ours for the default timeout, the context's otherwise.
func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause == error(ErrTimedOut) {
		return &Error{Code: CodeTimedOut, Message: "no answer within 30 s"}
	}
	return ctx.Err()
}

// sleep waits; false when ctx ended first.
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

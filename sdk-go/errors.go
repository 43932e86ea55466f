package polypeer

import (
	"context"
	"errors"
	"fmt"
)

// ErrorCode is a stable number of a failure. Numbers from 0x10000 up are Polypeer's; those below belong to
// applications, which may reset and stop streams with them.
type ErrorCode uint32

// firstCode is where Polypeer's own codes start; applications use those below.
const firstCode ErrorCode = 0x1_0000

// The codes of Polypeer. The names are those of SPEC.md.
const (
	CodeComplete           = firstCode // no failure: everything written, and its end, has arrived at the other node
	CodeMalformed          = firstCode + 1
	CodeUnauthorised       = firstCode + 2
	CodeUnsupportedVersion = firstCode + 3
	CodeUnsupported        = firstCode + 4
	CodeNotGranted         = firstCode + 5
	CodePeerNotAllowed     = firstCode + 6
	CodeBlocked            = firstCode + 7
	CodeUnknownPeer        = firstCode + 8
	CodeUnreachable        = firstCode + 9
	CodeNotServed          = firstCode + 10
	CodeAlreadyServed      = firstCode + 11
	CodeTooManyStreams     = firstCode + 12
	CodeBusy               = firstCode + 13
	CodeTooLarge           = firstCode + 14
	CodeTimedOut           = firstCode + 15
	CodeCancelled          = firstCode + 16
	CodeConnectionLost     = firstCode + 17
	CodeSuperseded         = firstCode + 18
	CodeNoSuchStream       = firstCode + 19
	CodeShuttingDown       = firstCode + 20
	CodeRefused            = firstCode + 21
	CodeInternal           = firstCode + 22
	CodeBadArgument        = firstCode + 23
	CodePeerMisbehaved     = firstCode + 24
	CodeHandlerFailed      = firstCode + 25 // the other plugin failed while it handled the stream or call; its log says why
)

var codeTexts = [...]string{
	"complete", "malformed", "unauthorised", "unsupported version", "unsupported", "not granted", "peer not allowed",
	"blocked", "unknown peer", "unreachable", "protocol not served", "protocol already served",
	"too many streams", "busy", "too large", "timed out", "cancelled", "connection lost", "superseded",
	"no such stream", "shutting down", "refused", "internal error", "bad argument", "peer misbehaved",
	"handler failed",
}

// String is the code's name in SPEC.md, or its number when it is an application's or a later version's.
func (c ErrorCode) String() string {
	switch {
	case c < firstCode:
		return fmt.Sprintf("application code %d", uint32(c))
	case c >= firstCode && int(c-firstCode) < len(codeTexts):
		return codeTexts[c-firstCode]
	}
	return fmt.Sprintf("unknown code %d", uint32(c))
}

// Error is a failure that Polypeer, or the plugin at the other end, reported. Compare with the Err variables by
// [errors.Is]: only the code counts, never the text.
type Error struct {
	Code    ErrorCode
	Message string // for people; may be empty
}

// Error is the code's name and the text.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

// Is reports whether target is an [Error] of the same code, or the equivalent context error, since either this process
// or netcore may notice the end of a context first.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == CodeTimedOut
	case context.Canceled:
		return e.Code == CodeCancelled
	}
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Timeout reports whether the failure is a timeout, as net.Error requires.
func (e *Error) Timeout() bool { return e.Code == CodeTimedOut }

// Errors for [errors.Is]. Each matches every error of its code.
var (
	ErrMalformed          = &Error{Code: CodeMalformed}
	ErrUnauthorised       = &Error{Code: CodeUnauthorised}
	ErrUnsupportedVersion = &Error{Code: CodeUnsupportedVersion}
	ErrUnsupported        = &Error{Code: CodeUnsupported}
	ErrNotGranted         = &Error{Code: CodeNotGranted}
	ErrPeerNotAllowed     = &Error{Code: CodePeerNotAllowed}
	ErrBlocked            = &Error{Code: CodeBlocked}
	ErrUnknownPeer        = &Error{Code: CodeUnknownPeer}
	ErrUnreachable        = &Error{Code: CodeUnreachable}
	ErrNotServed          = &Error{Code: CodeNotServed}
	ErrAlreadyServed      = &Error{Code: CodeAlreadyServed}
	ErrTooManyStreams     = &Error{Code: CodeTooManyStreams}
	ErrBusy               = &Error{Code: CodeBusy}
	ErrTooLarge           = &Error{Code: CodeTooLarge}
	ErrTimedOut           = &Error{Code: CodeTimedOut}
	ErrCancelled          = &Error{Code: CodeCancelled}
	ErrConnectionLost     = &Error{Code: CodeConnectionLost}
	ErrSuperseded         = &Error{Code: CodeSuperseded}
	ErrNoSuchStream       = &Error{Code: CodeNoSuchStream}
	ErrShuttingDown       = &Error{Code: CodeShuttingDown}
	ErrRefused            = &Error{Code: CodeRefused}
	ErrInternal           = &Error{Code: CodeInternal}
	ErrBadArgument        = &Error{Code: CodeBadArgument}
	ErrPeerMisbehaved     = &Error{Code: CodePeerMisbehaved}
	ErrHandlerFailed      = &Error{Code: CodeHandlerFailed}
)

// ErrNotAPlugin is returned by [Connect] in a process that Polypeer did not start.
var ErrNotAPlugin = errors.New("POLYPEER_GATEWAY or POLYPEER_TOKEN is not set: this program runs as a plugin, " +
	"start it with `polypeer plugin install FOLDER`")

// StreamError means that the other end ended one direction of a stream early: it aborted writing (a reset, returned by
// Read) or stopped reading (a stop, returned by Write).
type StreamError struct {
	Code ErrorCode // an application's, or one of Polypeer's
	Stop bool      // the other end stopped reading; otherwise it aborted writing
}

// Error names the kind and the code.
func (e *StreamError) Error() string {
	if e.Stop {
		return "the other end stopped reading: " + e.Code.String()
	}
	return "the other end reset the stream: " + e.Code.String()
}

// Is reports whether target is an [Error] of the same code, so that errors.Is(err, ErrConnectionLost) holds for every
// way a stream can be cut.
func (e *StreamError) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// lost is a connection-lost error with its cause.
func lost(why string) error { return &Error{Code: CodeConnectionLost, Message: why} }

// failure is the failure to send for a handler's error: an Error with an application's code or `refused` is the
// handler's answer, anything else is a failure of the handler.
func failure(err error) msgFailure {
	var e *Error
	if errors.As(err, &e) && (e.Code < firstCode || e.Code == CodeRefused) {
		return newFailure(e.Code, e.Message)
	}
	return newFailure(CodeHandlerFailed, err.Error())
}

package polypeer

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// Sizes that SPEC.md fixes.
const (
	maxFrame           = 1 << 20   // body of a control frame
	maxData            = 256 << 10 // payload of one data frame
	maxPayload         = 64 << 10  // payload of a request or reply
	maxMessage         = 1024      // text of a failure
	maxRequests        = 256       // requests one session may have in flight
	maxCalls           = 256       // calls waiting for one session's answer
	maxUnclaimed       = 128       // streams announced and not yet claimed
	maxProtocol        = 80        // name of a protocol, and a pattern of one
	maxName            = 128       // name of a topic or record
	maxTicket          = 1024
	maxTicketAddresses = 16
	frameHeader        = 4
	protocolVersion    = 1
	firstKindByte      = 24 // a data header is 24 bits of value, then the kind
)

// frame is one control frame: the length, then the message. An invalid name in it is the caller's bad argument.
func frame(m msgValue) ([]byte, error) {
	out, err := appendFrame(make([]byte, 0, 256), m)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// appendFrame appends a frame to out; nothing is appended when it fails.
func appendFrame(out []byte, m msgValue) ([]byte, error) {
	start := len(out)
	w := msgWriters.Get().(*msgWriter)
	w.out = append(out, make([]byte, frameHeader)...)
	m.write(w)
	frames, err := w.out, w.err
	*w = msgWriter{}
	msgWriters.Put(w)
	length := len(frames) - start - frameHeader
	if err == nil && length > maxFrame {
		err = fmt.Errorf("message of %d bytes; the limit is %d", length, maxFrame)
	}
	if err != nil {
		return frames[:start], &Error{Code: CodeBadArgument, Message: err.Error()}
	}
	binary.LittleEndian.PutUint32(frames[start:], uint32(length))
	return frames, nil
}

var msgWriters = sync.Pool{New: func() any { return new(msgWriter) }}

// malformed marks a decoding error: the other side broke the specification.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeMalformed, Message: err.Error()}
}

// readFrame reads one control frame's body into buf, grown as needed, and returns it. io.EOF only between frames.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return buf, err
	}
	whole, err := frameLength(header[:])
	if err != nil {
		return buf, err
	}
	length := whole - frameHeader
	if cap(buf) < length {
		buf = make([]byte, length)
	}
	buf = buf[:length]
	if _, err := io.ReadFull(r, buf); err != nil {
		return buf, io.ErrUnexpectedEOF
	}
	return buf, nil
}

// frameLength is the length of a whole frame, header included.
func frameLength(header []byte) (int, error) {
	length := binary.LittleEndian.Uint32(header)
	if length > maxFrame {
		return 0, &Error{Code: CodeMalformed, Message: fmt.Sprintf("frame of %d bytes; the limit is %d", length, maxFrame)}
	}
	return frameHeader + int(length), nil
}

// Kinds of data frames.
const (
	kindData  = 0 // the value is the length of the payload that follows, 1 to maxData
	kindFin   = 1 // the sender has written everything; the value is 0
	kindReset = 2 // the sender aborts; the value is a code
	kindStop  = 3 // the sender of this frame has stopped reading; the value is a code
)

// dataOrder checks the order of the data frames that arrive on one connection: one FIN or RESET at most, nothing of
// that direction after it, one STOP at most.
type dataOrder struct {
	ended, stopped bool
	bad            error // the first violation
}

func (o *dataOrder) next(kind uint32) error {
	again := o.ended
	switch kind {
	case kindFin, kindReset:
		o.ended = true
	case kindStop:
		again = o.stopped
		o.stopped = true
	}
	if again && o.bad == nil {
		o.bad = &Error{Code: CodeMalformed, Message: "data frame after the end of its direction"}
	}
	return o.bad
}

// putHeader writes the four bytes of a data frame's header.
func putHeader(b []byte, kind, value uint32) {
	binary.LittleEndian.PutUint32(b, kind<<firstKindByte|value&0xff_ffff)
}

// parseHeader decodes four bytes; it fails with malformed.
func parseHeader(b []byte) (kind, value uint32, err error) {
	word := binary.LittleEndian.Uint32(b)
	kind, value = word>>firstKindByte, word&0xff_ffff
	switch {
	case kind > kindStop:
		err = &Error{Code: CodeMalformed, Message: fmt.Sprintf("data frame of unknown kind %d", kind)}
	case kind == kindData && (value == 0 || value > maxData):
		err = &Error{Code: CodeMalformed, Message: fmt.Sprintf("data frame of %d bytes; expected 1 to %d", value, maxData)}
	case kind == kindFin && value != 0:
		err = &Error{Code: CodeMalformed, Message: "end-of-stream frame with a value"}
	}
	return kind, value, err
}

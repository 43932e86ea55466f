package polypeer

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Sizes that SPEC.md fixes.
const (
	maxFrame      = 1 << 20   // body of a control frame
	maxData       = 256 << 10 // payload of one data frame
	maxPayload    = 64 << 10  // payload of a request or reply
	maxMessage    = 1024      // text of a failure
	maxRequests   = 256       // requests one session may have in flight
	maxCalls      = 256       // calls waiting for one session's answer
	maxUnclaimed  = 128       // streams announced and not yet claimed
	frameHeader   = 4
	wireVersion   = 1
	firstKindByte = 24 // a data header is 24 bits of value, then the kind
)

// encoder appends values in the gateway's encoding: little-endian, fixed width, u64 lengths, u32 enum tags.
type encoder struct{ b []byte }

func (e *encoder) u32(v uint32)   { e.b = binary.LittleEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)   { e.b = binary.LittleEndian.AppendUint64(e.b, v) }
func (e *encoder) raw(v [32]byte) { e.b = append(e.b, v[:]...) }
func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}
func (e *encoder) text(v string) {
	e.u64(uint64(len(v)))
	e.b = append(e.b, v...)
}
func (e *encoder) bytes(v []byte) {
	e.u64(uint64(len(v)))
	e.b = append(e.b, v...)
}
func (e *encoder) texts(v []string) {
	e.u64(uint64(len(v)))
	for _, text := range v {
		e.text(text)
	}
}

// decoder reads values; after the first failure every read gives zero. Nothing is allocated by a length it was told
// unless that many bytes are there.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = &Error{Code: CodeMalformed, Message: fmt.Sprintf(format, args...)}
	}
	d.b = nil
}

func (d *decoder) take(n uint64) []byte {
	if uint64(len(d.b)) < n {
		d.fail("%d bytes expected, %d left", n, len(d.b))
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) raw() (out [32]byte) {
	copy(out[:], d.take(32))
	return out
}

func (d *decoder) bool() bool {
	b := d.take(1)
	if b != nil && b[0] > 1 {
		d.fail("%d is not a truth value", b[0])
	}
	return b != nil && b[0] == 1
}

func (d *decoder) text() string {
	b := d.take(d.u64())
	if !utf8.Valid(b) {
		d.fail("text is not UTF-8")
		return ""
	}
	return string(b)
}

// bytes is a copy, so that the frame's buffer can be used again.
func (d *decoder) bytes() []byte { return append([]byte(nil), d.take(d.u64())...) }

// list reads count-prefixed items, each of at least `least` bytes: a count that cannot be true is refused before
// anything is allocated.
func list[T any](d *decoder, least uint64, item func() T) []T {
	count := d.u64()
	if count > uint64(len(d.b))/least {
		d.fail("list of %d does not fit in %d bytes", count, len(d.b))
		return nil
	}
	out := make([]T, 0, count)
	for i := uint64(0); i < count && d.err == nil; i++ {
		out = append(out, item())
	}
	return out
}

func (d *decoder) texts() []string { return list(d, 8, d.text) }

// end reports the first failure, or that bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes are left after the message", len(d.b))
	}
	return d.err
}

// frame is one control frame: the length, then what `encode` appends.
func frame(encode func(*encoder)) ([]byte, error) {
	e := &encoder{b: make([]byte, frameHeader, 256)}
	encode(e)
	length := len(e.b) - frameHeader
	if length > maxFrame {
		return nil, &Error{Code: CodeTooLarge, Message: fmt.Sprintf("message of %d bytes; the limit is %d", length, maxFrame)}
	}
	binary.LittleEndian.PutUint32(e.b, uint32(length))
	return e.b, nil
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

// frameLength is the length of a whole frame, header included, by its header.
func frameLength(header []byte) (int, error) {
	length := binary.LittleEndian.Uint32(header)
	if length > maxFrame {
		return 0, &Error{Code: CodeMalformed, Message: fmt.Sprintf("frame of %d bytes; the limit is %d", length, maxFrame)}
	}
	return frameHeader + int(length), nil
}

// What a data frame is.
const (
	kindData  = 0 // the value is the length of the payload that follows, 1 to maxData
	kindFin   = 1 // the sender has written everything; the value is 0
	kindReset = 2 // the sender gives up; the value is a code
	kindStop  = 3 // the sender of this frame reads no more; the value is a code
)

// putHeader writes the four bytes of a data frame's header.
func putHeader(b []byte, kind, value uint32) {
	binary.LittleEndian.PutUint32(b, kind<<firstKindByte|value&0xff_ffff)
}

// parseHeader reads four bytes; what breaks a rule is malformed.
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

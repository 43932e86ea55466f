package polypeer

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unicode/utf8"
)

// The encoding of values: integers fixed-width and little-endian, lengths as 8 bytes, enum tags as 4, fields in order
// with nothing between them (section 3 of ipc-protocol/SPEC.md). messages_generated.go composes the messages from
// these.

// Keys, hashes and signatures are raw bytes on the wire.
type (
	msgNode      = [32]byte
	msgSecret    = [32]byte
	msgHash      = [32]byte
	msgSignature = [64]byte
)

// msgOption is a value that may be missing.
type msgOption[T any] struct {
	some  bool
	value T
}

// msgValue is a message, or a part of one.
type msgValue interface {
	write(*msgWriter)
	// json is the form that the vectors have.
	json() any
}

// msgWriter appends values to out. It keeps the first failure: a name that breaks its rule, or text that is not UTF-8.
type msgWriter struct {
	out []byte
	err error
}

func (w *msgWriter) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *msgWriter) u32(v uint32)      { w.out = binary.LittleEndian.AppendUint32(w.out, v) }
func (w *msgWriter) u64(v uint64)      { w.out = binary.LittleEndian.AppendUint64(w.out, v) }
func (w *msgWriter) node(v msgNode)    { w.out = append(w.out, v[:]...) }
func (w *msgWriter) secret(v [32]byte) { w.out = append(w.out, v[:]...) }
func (w *msgWriter) hash(v [32]byte)   { w.out = append(w.out, v[:]...) }

func (w *msgWriter) signature(v msgSignature) { w.out = append(w.out, v[:]...) }

func (w *msgWriter) bool(v bool) {
	if v {
		w.out = append(w.out, 1)
	} else {
		w.out = append(w.out, 0)
	}
}

func (w *msgWriter) bytes(v []byte) {
	w.u64(uint64(len(v)))
	w.out = append(w.out, v...)
}

func (w *msgWriter) text(v string) {
	if !utf8.ValidString(v) {
		w.fail("text is not UTF-8")
	}
	w.u64(uint64(len(v)))
	w.out = append(w.out, v...)
}

// checked appends a name. what is its kind, and its rule if a plugin chooses such names itself.
func (w *msgWriter) checked(v string, valid bool, what string) {
	if !valid {
		w.fail("%.80q is not a %s", v, what)
	}
	w.text(v)
}

func (w *msgWriter) pluginID(v string) { w.checked(v, isPluginID(v), "plugin id") }
func (w *msgWriter) protocol(v string) { w.checked(v, isProtocol(v), protocolRule) }
func (w *msgWriter) pattern(v string)  { w.checked(v, isPattern(v), "pattern") }
func (w *msgWriter) name(v string)     { w.checked(v, isRecordName(v), nameRule) }
func (w *msgWriter) ticket(v string)   { w.checked(v, isTicket(v), "ticket") }

// msgReader takes values off the front of b. After the first failure every value is zero. Nothing is allocated by a
// length it was told unless that many bytes are there.
type msgReader struct {
	b   []byte
	err error
}

// decodeMsg reads the body of a frame, to its last byte.
func decodeMsg[T any](body []byte, read func(*msgReader) T) (T, error) {
	r := &msgReader{b: body}
	if len(body) > maxFrame {
		r.fail("message of %d bytes; the limit is %d", len(body), maxFrame)
	}
	v := read(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes are left after the message", len(r.b))
	}
	if r.err != nil {
		var none T
		return none, r.err
	}
	return v, nil
}

// fail keeps the first failure, and ends the input.
func (r *msgReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

// take is the next n bytes, not copied; nil when fewer are left.
func (r *msgReader) take(n uint64) []byte {
	if uint64(len(r.b)) < n {
		r.fail("message cut short: %d bytes expected, %d left", n, len(r.b))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *msgReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *msgReader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *msgReader) node() (out msgNode) {
	copy(out[:], r.take(32))
	return out
}

func (r *msgReader) secret() msgSecret { return r.node() }
func (r *msgReader) hash() msgHash     { return r.node() }

func (r *msgReader) signature() (out msgSignature) {
	copy(out[:], r.take(64))
	return out
}

func (r *msgReader) bool() bool {
	b := r.take(1)
	if b != nil && b[0] > 1 {
		r.fail("%d is not a truth value", b[0])
	}
	return b != nil && b[0] == 1
}

// bytes is a copy, so that the frame's buffer can be used again.
func (r *msgReader) bytes() []byte { return append([]byte{}, r.take(r.u64())...) }

func (r *msgReader) text() string {
	b := r.take(r.u64())
	if !utf8.Valid(b) {
		r.fail("text is not UTF-8")
		return ""
	}
	return string(b)
}

// checked reads a name that must follow its rule.
func (r *msgReader) checked(valid func(string) bool, what string) string {
	v := r.text()
	if r.err == nil && !valid(v) {
		r.fail("%.80q is not a %s", v, what)
	}
	return v
}

func (r *msgReader) pluginID() string { return r.checked(isPluginID, "plugin id") }
func (r *msgReader) protocol() string { return r.checked(isProtocol, "protocol") }
func (r *msgReader) pattern() string  { return r.checked(isPattern, "pattern") }
func (r *msgReader) name() string     { return r.checked(isRecordName, "name") }
func (r *msgReader) ticket() string   { return r.checked(isTicket, "ticket") }

// choice reads the tag of an enum whose variants hold nothing.
func (r *msgReader) choice(what string, variants uint32) uint32 {
	tag := r.u32()
	if tag >= variants {
		r.fail("unknown %s %d", what, tag)
	}
	return tag
}

// msgList reads a list of at most limit entries; every entry takes a byte at least.
func msgList[T any](r *msgReader, limit uint64, read func() T) []T {
	count := r.u64()
	if count > uint64(len(r.b)) || count > limit {
		r.fail("list of %d entries in %d bytes", count, len(r.b))
		return nil
	}
	out := []T{}
	for i := uint64(0); i < count && r.err == nil; i++ {
		out = append(out, read())
	}
	return out
}

// msgOptional reads a value that may be missing.
func msgOptional[T any](r *msgReader, read func() T) (out msgOption[T]) {
	if r.bool() {
		out = msgOption[T]{true, read()}
	}
	return out
}

// The JSON form of messages, which the vectors have: hexadecimal for bytes, z-base-32 for node ids, null for what is
// missing.

func msgJSONOption[T any](option msgOption[T], json func(T) any) any {
	if !option.some {
		return nil
	}
	return json(option.value)
}

func msgJSONList[T any](list []T, json func(T) any) []any {
	out := make([]any, 0, len(list))
	for _, item := range list {
		out = append(out, json(item))
	}
	return out
}

func msgJSONText(v string) any   { return v }
func msgJSONNumber(v uint32) any { return v }
func msgJSONNode(v msgNode) any  { return NodeID(v).String() }
func msgJSONHex(v []byte) any    { return hex.EncodeToString(v) }

// Package tree checks parts of a file against the BLAKE3 hash of the whole.
//
// A file is cut into groups of 256 KiB. Each group has a chaining value (the BLAKE3 paper calls it so; section 2.1 of
// the paper and of the draft specification), and those values hash to the root, which is the plain BLAKE3 hash of the
// file. Who has the list of values, checked once against the root, can check every group by itself. The list binds
// the size too: a value depends on its group's length and place.
package tree

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/guts"
)

const (
	// Group is the size of what is checked at once: large enough that the list is 1/8192 of the file, small enough
	// that little is lost when a check fails.
	Group = 256 << 10
	// Value is the size of a chaining value.
	Value = 32

	chunksPerGroup = Group / guts.ChunkSize
)

// Hash is the BLAKE3 hash of a file. Text: 64 lower-case hex digits.
type Hash [32]byte

// String is the hash as 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads 64 hex digits.
func ParseHash(text string) (h Hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("%.80q is not a content hash: expected 64 hexadecimal digits", text)
	}
	return Hash(b), nil
}

// Groups is how many groups a file of so many bytes has.
func Groups(size int64) int64 { return (size + Group - 1) / Group }

// Length is the length of one group.
func Length(size, group int64) int { return int(min(Group, size-group*Group)) }

// ListSize is the length of a file's list, bytes. A file of one group or none needs no list: its hash says it all.
func ListSize(size int64) int64 {
	if groups := Groups(size); groups > 1 {
		return groups * Value
	}
	return 0
}

// Of is the chaining value of one group, which must be whole.
func Of(group int64, data []byte) (value [Value]byte) {
	return toBytes(guts.ChainingValue(node(uint64(group)*chunksPerGroup, data)))
}

// Whole is the hash of a file of one group or none.
func Whole(data []byte) Hash { return blake3.Sum256(data) }

// node hashes a group up to its top: pieces of MaxSIMD chunks at once, their subtrees joined as in a binary counter.
func node(counter uint64, data []byte) guts.Node {
	const piece = guts.MaxSIMD * guts.ChunkSize
	var join joiner
	var buf [piece]byte
	for len(data) > piece {
		copy(buf[:], data)
		join.push(guts.ChainingValue(guts.CompressBuffer(&buf, piece, &guts.IV, counter, 0)))
		counter += guts.MaxSIMD
		data = data[piece:]
	}
	n := copy(buf[:], data)
	return join.top(guts.CompressBuffer(&buf, n, &guts.IV, counter, 0))
}

// joiner joins subtrees of equal size from the left, as bits carry in a binary counter.
type joiner struct {
	stack [64][8]uint32
	count uint64
}

func (j *joiner) push(value [8]uint32) {
	level := 0
	for ; j.count&(1<<level) != 0; level++ {
		value = guts.ChainingValue(guts.ParentNode(j.stack[level], value, &guts.IV, 0))
	}
	j.stack[level] = value
	j.count++
}

// top joins what is there with the last, possibly smaller, subtree.
func (j *joiner) top(last guts.Node) guts.Node {
	for level := 0; level < bits.Len64(j.count); level++ {
		if j.count&(1<<level) != 0 {
			last = guts.ParentNode(j.stack[level], guts.ChainingValue(last), &guts.IV, 0)
		}
	}
	return last
}

// Rooter computes a file's hash from the values of its groups, given in order. For files of two groups or more.
type Rooter struct {
	join joiner
	last [8]uint32
	any  bool
}

// Add takes the next group's value.
func (r *Rooter) Add(value [Value]byte) {
	if r.any {
		r.join.push(r.last)
	}
	r.last, r.any = toWords(value), true
}

// Root is the hash, after two values at least.
func (r *Rooter) Root() Hash {
	value := r.last
	for level, left := 0, r.join.count; left != 0; level++ {
		if left&(1<<level) == 0 {
			continue
		}
		left &^= 1 << level
		flags := uint32(0)
		if left == 0 {
			flags = guts.FlagRoot
		}
		value = guts.ChainingValue(guts.ParentNode(r.join.stack[level], value, &guts.IV, flags))
	}
	return toBytes(value)
}

// ErrMismatch says that bytes are not those the hash stands for.
var ErrMismatch = errors.New("content does not match its hash")

// CheckList copies the list of a file of `size` bytes from r to w, and fails with ErrMismatch at its end unless it
// hashes to the root: what was copied is then worthless.
func CheckList(w io.Writer, r io.Reader, size int64, root Hash) error {
	var rooter Rooter
	buf := make([]byte, 64<<10)
	for left := ListSize(size); left > 0; {
		part := buf[:min(int64(len(buf)), left)]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		left -= int64(len(part))
		for i := 0; i < len(part); i += Value {
			rooter.Add([Value]byte(part[i:]))
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	if rooter.Root() != root {
		return ErrMismatch
	}
	return nil
}

func toWords(b [Value]byte) (words [8]uint32) {
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return words
}

func toBytes(words [8]uint32) (b [Value]byte) {
	for i, w := range words {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
	return b
}

package polypeer

import (
	"fmt"
	"strings"
)

// NodeID is a node's Ed25519 public key, 32 bytes. As text it has 52 characters of z-base-32.
type NodeID [32]byte

// zBase32 is the alphabet of Zooko's base 32, five bits a character, most significant first.
const zBase32 = "ybndrfg8ejkmcpqxot1uwisza345h769"

// nodeIDText is the length of a node id as text: 256 bits in groups of five, the last four bits zero.
const nodeIDText = 52

// String is the id as 52 characters of z-base-32.
func (id NodeID) String() string {
	out := make([]byte, 0, nodeIDText)
	var bits, count uint
	for _, b := range id {
		bits = bits<<8 | uint(b)
		for count += 8; count >= 5; count -= 5 {
			out = append(out, zBase32[bits>>(count-5)&31])
		}
	}
	return string(append(out, zBase32[bits<<(5-count)&31]))
}

// ParseNodeID reads the text form. It rejects stray bits, capitals and other lengths.
func ParseNodeID(text string) (NodeID, error) {
	var id NodeID
	if len(text) != nodeIDText {
		return NodeID{}, notNodeID(text)
	}
	var bits, count uint
	used := 0
	for i := 0; i < len(text); i++ {
		value := strings.IndexByte(zBase32, text[i])
		if value < 0 {
			return NodeID{}, notNodeID(text)
		}
		bits = bits<<5 | uint(value)
		if count += 5; count >= 8 {
			count -= 8
			id[used] = byte(bits >> count)
			used++
		}
	}
	if bits&(1<<count-1) != 0 {
		return NodeID{}, notNodeID(text)
	}
	return id, nil
}

func notNodeID(text string) error {
	return fmt.Errorf("%.80q is not a node id: expected %d characters of z-base-32", text, nodeIDText)
}

// MarshalText is the text form, for JSON and the like.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *NodeID) UnmarshalText(text []byte) error {
	parsed, err := ParseNodeID(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

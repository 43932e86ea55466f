package polypeer

import (
	"encoding/hex"
	"fmt"
)

// Hash is a BLAKE3 hash of a value or a gossip message, 32 bytes. As text it has 64 hexadecimal digits, lower case.
type Hash [32]byte

// String is the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads the text form. It rejects capitals and other lengths.
func ParseHash(text string) (Hash, error) {
	var h Hash
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(h) || hex.EncodeToString(raw) != text {
		return Hash{}, fmt.Errorf("%.80q is not a hash: expected 64 hexadecimal digits, lower case", text)
	}
	copy(h[:], raw)
	return h, nil
}

// MarshalText is the text form, for JSON and the like.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text form.
func (h *Hash) UnmarshalText(text []byte) error {
	parsed, err := ParseHash(string(text))
	if err == nil {
		*h = parsed
	}
	return err
}

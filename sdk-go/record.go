package polypeer

import (
	"crypto/ed25519"
	"errors"
	"time"
)

// SignedRecord is a value that the owner of a key stores under a name in the DHT. Of two records of one key and name
// the higher Sequence replaces the other.
type SignedRecord struct {
	// Key is the owner: an Ed25519 public key, a node's or any other.
	Key  NodeID
	Name string
	// Sequence must grow with every change.
	Sequence uint64
	// Expires is the expiry, to the second; at most 24 hours ahead when it is put.
	Expires time.Time
	// Value is at most 3,072 bytes.
	Value []byte
	// Signature is Key's of SignedBytes.
	Signature [64]byte
}

// recordDomain is the prefix of the signed bytes: domain separation.
const recordDomain = "polypeer/1 record\x00"

// SignRecord makes a record and signs it with the plugin's own key; Node.PutSigned puts it.
func SignRecord(key ed25519.PrivateKey, name string, sequence uint64, expires time.Time, value []byte) (SignedRecord, error) {
	if len(key) != ed25519.PrivateKeySize {
		return SignedRecord{}, errors.New("polypeer: an Ed25519 private key has 64 bytes")
	}
	record := SignedRecord{Name: name, Sequence: sequence, Expires: expires, Value: value}
	copy(record.Key[:], key.Public().(ed25519.PublicKey))
	signed, err := record.SignedBytes()
	if err == nil {
		copy(record.Signature[:], ed25519.Sign(key, signed))
	}
	return record, err
}

// SignedBytes is the bytes the signature covers. It fails for an invalid name.
func (r SignedRecord) SignedBytes() ([]byte, error) {
	w := &msgWriter{out: []byte(recordDomain)}
	w.node(r.Key)
	w.name(r.Name)
	w.u64(r.Sequence)
	w.u64(unixSeconds(r.Expires))
	w.bytes(r.Value)
	return w.out, w.err
}

// Verify reports whether the signature is by Key. The network core has verified records from Node.GetRecord.
func (r SignedRecord) Verify() bool {
	signed, err := r.SignedBytes()
	return err == nil && ed25519.Verify(r.Key[:], signed, r.Signature[:])
}

func (r SignedRecord) message() msgSignedRecord {
	return msgSignedRecord{r.Key, r.Name, r.Sequence, unixSeconds(r.Expires), r.Value, r.Signature}
}

func recordFrom(m msgSignedRecord) SignedRecord {
	return SignedRecord{m.key, m.name, m.sequence, time.Unix(int64(m.expires), 0), m.value, m.signature}
}

// unixSeconds is a time in Unix seconds, the inverse of time.Unix for all 64 bits.
func unixSeconds(t time.Time) uint64 {
	return uint64(t.Unix())
}

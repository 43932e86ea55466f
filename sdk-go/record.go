package polypeer

import (
	"crypto/ed25519"
	"errors"
	"time"
)

// SignedRecord is what the owner of a key says under a name in the DHT. Of two records of one key and name the one with the
// higher Sequence holds.
type SignedRecord struct {
	// Key is whose it is: an Ed25519 public key, a node's or any other.
	Key  NodeID
	Name string
	// Sequence grows with every change.
	Sequence uint64
	// Expires is until when it is good, to the second; at most 24 hours ahead when it is put.
	Expires time.Time
	// Value is at most 3,072 bytes.
	Value []byte
	// Signature is Key's of SignedBytes.
	Signature [64]byte
}

// recordDomain comes before what is signed, so that a signature for one use is none for another.
const recordDomain = "polypeer/1 record\x00"

// SignRecord makes a record and signs it with a key of the plugin's own; Node.PutSigned puts it.
func SignRecord(key ed25519.PrivateKey, name string, sequence uint64, expires time.Time, value []byte) (SignedRecord, error) {
	if len(key) != ed25519.PrivateKeySize {
		return SignedRecord{}, errors.New("polypeer: a private key of Ed25519 has 64 bytes")
	}
	record := SignedRecord{Name: name, Sequence: sequence, Expires: expires, Value: value}
	copy(record.Key[:], key.Public().(ed25519.PublicKey))
	signed, err := record.SignedBytes()
	if err == nil {
		copy(record.Signature[:], ed25519.Sign(key, signed))
	}
	return record, err
}

// SignedBytes is what the signature covers. It fails for a name that breaks its rule.
func (r SignedRecord) SignedBytes() ([]byte, error) {
	w := &msgWriter{out: []byte(recordDomain)}
	w.node(r.Key)
	w.name(r.Name)
	w.u64(r.Sequence)
	w.u64(unixSeconds(r.Expires))
	w.bytes(r.Value)
	return w.out, w.err
}

// Verify says whether the signature is by Key. Records from Node.GetRecord have been verified by the network core.
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

// unixSeconds is a time as records have it, and the inverse of time.Unix for all 64 bits.
func unixSeconds(t time.Time) uint64 {
	return uint64(t.Unix())
}

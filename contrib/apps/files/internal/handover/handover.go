// Package handover passes descriptors of files between the operator's commands and this app, so that a file system
// which can share blocks between files does not store a file twice. Descriptors are open for reading only: nothing can
// be written through them, but a process of the same user id could still reopen the file. No path crosses.
//
// A [Desk] is a Unix socket in the app's data folder. On the stream of its request a command is told a token; it
// connects, sends the token, with a descriptor if it gives one, and is answered, with a descriptor if it takes one.
// Both messages are frames as on the gateway: a length of 4 bytes, little-endian, then bincode, a text and a boolean.
package handover

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"sync"
	"time"
)

const (
	// maxVisits bounds the connections that are answered at once; the operator's commands make one each.
	maxVisits = 64
	// visitTime is how long one connection may take; a clone takes a part of a second.
	visitTime = 30 * time.Second
	// tokenSize is the length of a token: 16 random bytes in hexadecimal digits.
	tokenSize = 32
)

// Visit answers one connection. It owns what was given, which may be nil; the desk closes what it lends after sending
// it.
type Visit func(given *os.File) (lent *os.File, ok bool)

// expected holds the visits that may come, by token.
type expected struct {
	mu     sync.Mutex
	visits map[string]Visit
}

// Expect makes a token for one visit. cancel reports whether it had not come yet, and does not any more.
func (e *expected) Expect(visit Visit) (token string, cancel func() bool) {
	var random [tokenSize / 2]byte
	_, _ = rand.Read(random[:]) // never fails
	token = hex.EncodeToString(random[:])
	e.mu.Lock()
	defer e.mu.Unlock()
	e.visits[token] = visit
	return token, func() bool { return e.take(token) != nil }
}

// take is the visit of a token, once.
func (e *expected) take(token string) Visit {
	e.mu.Lock()
	defer e.mu.Unlock()
	visit := e.visits[token]
	delete(e.visits, token)
	return visit
}

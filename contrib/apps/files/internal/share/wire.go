// Package share moves files between nodes: it answers what peers ask by `files/1` (serve.go), fetches by it
// (fetch.go, download.go), and answers the operator's commands by `files-control/1` (control.go, add.go, give.go).
// PROTOCOL.md says what travels.
package share

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// The protocols.
const (
	PeerProtocol    = "files/1"
	ControlProtocol = "files-control/1"
)

const (
	maxLine    = 64 << 10         // of a control request; tickets make it long
	maxAnswer  = 4 << 10          // of a line between nodes, request or answer
	lineTime   = 10 * time.Second // for a first line to arrive
	stallTime  = 30 * time.Second // without a byte from a source: it has stalled
	maxSources = 16               // of one file
	maxServing = 64               // streams served at once, to peers and to the operator each
)

// Conn is a stream as this package uses it; *polypeer.Conn is one.
type Conn interface {
	net.Conn
	CloseWrite() error
	Reset(code polypeer.ErrorCode) error
}

// Dialer opens streams to peers; *polypeer.Node is one, through [Over].
type Dialer interface {
	Dial(ctx context.Context, peer, protocol string) (Conn, error)
}

// Over makes a node a Dialer.
func Over(node *polypeer.Node) Dialer { return nodeDialer{node} }

type nodeDialer struct{ node *polypeer.Node }

func (d nodeDialer) Dial(ctx context.Context, peer, protocol string) (Conn, error) {
	conn, err := d.node.Dial(ctx, peer, protocol)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Codes of this application: in answers, and in resets.
const (
	codeUnknown    = 1 // no such file here
	codeNoSource   = 2 // no source could give the file
	codeFull       = 3 // disk full
	codeBadRequest = 4
	codeDamaged    = 5 // the stored copy is damaged
	codeBusy       = 6
	codeInternal   = 7
	codeRemoved    = 8 // removed, or the app is stopping
	codeAway       = 9 // no source can be reached
	codeStoreFull  = 10
)

// problem is an error as it is sent.
type problem struct {
	Error string             `json:"error"`
	Code  polypeer.ErrorCode `json:"code"`
}

var (
	errBadRequest = errors.New("bad request")
	errBusy       = errors.New("busy: too many transfers at once")
	errNoSource   = errors.New("no source could give the file")
	errAway       = errors.New("no source can be reached")
	errStopped    = errors.New("stopped")
	errRemoved    = errors.New("the file was removed")
)

func problemOf(err error) problem {
	code := polypeer.ErrorCode(codeInternal)
	for _, known := range []struct {
		err  error
		code polypeer.ErrorCode
	}{
		{store.ErrUnknown, codeUnknown}, {errNoSource, codeNoSource}, {store.ErrDisk, codeFull}, {store.ErrFull, codeStoreFull},
		{errBadRequest, codeBadRequest}, {store.ErrSize, codeBadRequest}, {store.ErrDamaged, codeDamaged}, {errBusy, codeBusy},
		{errStopped, codeRemoved}, {errAway, codeAway},
	} {
		if errors.Is(err, known.err) {
			code = known.code
			break
		}
	}
	return problem{err.Error(), code}
}

// writeLine sends one JSON line.
func writeLine(w io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// readLine reads one JSON line of at most `limit` bytes.
func readLine(r *bufio.Reader, limit int, value any) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return fmt.Errorf("%w: a line of over %d bytes", errBadRequest, limit)
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	if err := json.Unmarshal(line, value); err != nil {
		return fmt.Errorf("%w: %v", errBadRequest, err)
	}
	return nil
}

// refuse answers with a problem, and ends.
func refuse(conn Conn, err error) {
	_ = conn.SetWriteDeadline(time.Now().Add(lineTime))
	_ = writeLine(conn, problemOf(err))
	_ = conn.Close()
}

// peerRequest is what a fetching node asks: everything from a group on, and the list before it if need be.
type peerRequest struct {
	Op    string `json:"op"` // "get"
	Hash  string `json:"hash"`
	Group int64  `json:"group"`
	List  bool   `json:"list"`
}

// peerAnswer comes before the list and the content.
type peerAnswer struct {
	Size  int64              `json:"size"`
	Error string             `json:"error,omitempty"`
	Code  polypeer.ErrorCode `json:"code,omitempty"`
}

// groupReader reads whole groups off a stream whose other end may stall.
type groupReader struct {
	conn net.Conn
	in   *bufio.Reader
}

func (g groupReader) Read(p []byte) (int, error) {
	_ = g.conn.SetReadDeadline(time.Now().Add(stallTime))
	return g.in.Read(p)
}

// next reads one group of a file.
func (g groupReader) next(buf []byte, size, number int64) ([]byte, error) {
	group := buf[:tree.Length(size, number)]
	_, err := io.ReadFull(g, group)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the other end said "everything", and it was not
	}
	return group, err
}

package share

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/handover"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// Control answers the operator.
type Control struct {
	store     *store.Store
	downloads *Downloads
	desk      *handover.Desk // nil where descriptors cannot be passed
	places    chan struct{}
}

// NewControl makes the operator's side; desk may be nil.
func NewControl(s *store.Store, d *Downloads, desk *handover.Desk) *Control {
	return &Control{s, d, desk, make(chan struct{}, maxServing)}
}

// Serve accepts streams until the listener ends, and returns why it did.
func (c *Control) Serve(ln net.Listener) error { return serve(ln, c.places, c.handle) }

type controlRequest struct {
	Op     string   `json:"op"`
	Name   string   `json:"name"`
	Hash   string   `json:"hash"`
	Size   *int64   `json:"size"`
	From   []string `json:"from"`
	Offset int64    `json:"offset"`
	// Expires is how long an added file is kept, seconds; 0: until it is removed.
	Expires int64 `json:"expires_s"`
	// Handover asks for a token with which the file to add may be handed over.
	Handover bool `json:"handover"`
}

func (c *Control) handle(conn Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(lineTime))
	in := bufio.NewReaderSize(conn, 64<<10)
	var request controlRequest
	err := readLine(in, maxLine, &request)
	_ = conn.SetReadDeadline(time.Time{})
	if err == nil {
		err = c.answer(conn, in, request)
	}
	switch {
	case err == nil:
		_ = conn.Close()
	case errors.As(err, &begun{}):
		_ = conn.Reset(problemOf(err).Code)
	default:
		refuse(conn, err)
	}
}

// begun marks a failure after the answer was begun, which only a reset can tell.
type begun struct{ error }

func (b begun) Unwrap() error { return b.error }

func (c *Control) answer(conn Conn, in *bufio.Reader, request controlRequest) error {
	if request.Op == "list" {
		return c.list(conn)
	}
	if request.Op == "add" {
		return c.add(conn, in, request)
	}
	hash, err := tree.ParseHash(request.Hash)
	if err != nil {
		return fmt.Errorf("%w: %v", errBadRequest, err)
	}
	switch request.Op {
	case "get":
		return c.get(conn, in, hash, request)
	case "why":
		return writeLine(conn, c.downloads.Why(hash))
	case "remove":
		c.downloads.Forget(hash)
		if err := c.store.Remove(hash); err != nil {
			return err
		}
		return writeLine(conn, struct{}{})
	case "lend":
		return c.lend(conn, hash)
	case "stop":
		if err := c.store.Stop(hash); err != nil {
			return err
		}
		return writeLine(conn, struct{}{})
	}
	return fmt.Errorf("%w: unknown operation %.40q", errBadRequest, request.Op)
}

// listed is one line of the answer to `list`.
type listed struct {
	Hash    string `json:"hash"`
	Name    string `json:"name"`
	Size    int64  `json:"size_bytes"` // of the whole file
	Have    int64  `json:"have_bytes"` // of what lies on the disk
	Offered bool   `json:"offered"`
	Expires *int64 `json:"expires_s"` // nil: never
}

func (c *Control) list(conn Conn) error {
	out := bufio.NewWriterSize(conn, 64<<10)
	for _, info := range c.store.List() {
		line := listed{info.Hash.String(), info.Name, info.Size, info.Have, info.Offered(), nil}
		if !info.Expires.IsZero() {
			left := max(0, int64(time.Until(info.Expires).Seconds()))
			line.Expires = &left
		}
		if err := writeLine(out, line); err != nil {
			return begun{err}
		}
	}
	if err := out.Flush(); err != nil {
		return begun{err}
	}
	return nil
}

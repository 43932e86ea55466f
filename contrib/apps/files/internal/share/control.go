package share

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

const (
	// lookEvery is how often one who waits looks whether the operator's command is still there.
	lookEvery = 500 * time.Millisecond
	// tellEvery is between two lines of progress of an `add`.
	tellEvery = 100 * time.Millisecond
	// maxExpires is the longest time until a file expires, seconds: ten years. Beyond, the file is kept anyway.
	maxExpires = 10 * 366 * 24 * 3600
)

// Control answers the operator.
type Control struct {
	store     *store.Store
	downloads *Downloads
	places    chan struct{}
}

// NewControl makes the operator's side.
func NewControl(s *store.Store, d *Downloads) *Control {
	return &Control{s, d, make(chan struct{}, maxServing)}
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
	Size    int64  `json:"size_bytes"`
	Offered bool   `json:"offered"`
	Expires *int64 `json:"expires_s"` // nil: never
}

func (c *Control) list(conn Conn) error {
	out := bufio.NewWriterSize(conn, 64<<10)
	for _, info := range c.store.List() {
		line := listed{info.Hash.String(), info.Name, info.Size, info.Offered(), nil}
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

// add takes a file from the operator. Without a size the end of the stream ends it.
func (c *Control) add(conn Conn, in *bufio.Reader, request controlRequest) error {
	size := int64(store.UnknownSize)
	if request.Size != nil {
		if size = *request.Size; size < 0 {
			return fmt.Errorf("%w: a size below 0", errBadRequest)
		}
	}
	var expires time.Time
	if request.Expires != 0 {
		if request.Expires < 0 || request.Expires > maxExpires {
			return fmt.Errorf("%w: %d seconds, of at most %d, until it expires", errBadRequest, request.Expires, int64(maxExpires))
		}
		expires = time.Now().Add(time.Duration(request.Expires) * time.Second)
	}
	incoming, err := c.store.Add(size)
	if err != nil {
		return err
	}
	if err := receiveGroups(conn, in, incoming, size); err != nil {
		incoming.Discard()
		return err
	}
	info, err := incoming.Finish(request.Name, expires)
	if err != nil {
		return err
	}
	return writeLine(conn, map[string]any{"hash": info.Hash.String(), "size": info.Size, "name": request.Name})
}

// receiveGroups takes the content of a file up to the end of the stream, and tells the progress.
func receiveGroups(conn Conn, in *bufio.Reader, incoming *store.Incoming, size int64) error {
	told, have, buf := time.Now(), int64(0), make([]byte, tree.Group)
	for {
		n, err := io.ReadFull(in, buf)
		ended := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !ended {
			return err
		}
		have += int64(n)
		if size >= 0 && (have > size || ended && have < size) {
			return fmt.Errorf("%w: %d bytes were announced, %d came", store.ErrSize, size, have)
		}
		if n > 0 {
			if err := incoming.Write(buf[:n]); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		if time.Since(told) >= tellEvery {
			told = time.Now()
			_ = conn.SetWriteDeadline(told.Add(stallTime))
			if err := writeLine(conn, map[string]int64{"progress": have}); err != nil {
				return err
			}
		}
	}
}

// get gives a file to the operator while it arrives.
func (c *Control) get(conn Conn, in *bufio.Reader, hash tree.Hash, request controlRequest) error {
	if request.Offset < 0 {
		return fmt.Errorf("%w: an offset below 0", errBadRequest)
	}
	if len(request.From) > maxSources {
		request.From = request.From[:maxSources]
	}
	gone := watch(in)
	sizes := c.sizes(hash, request)
	size, ok, err := sizes()
	for ; ok; size, ok, _ = sizes() {
		if err = c.deliver(conn, gone, hash, size, request); err == nil || errors.As(err, &begun{}) {
			break
		}
	}
	if err != nil {
		c.downloads.remember(hash, err)
	}
	return err
}

// sizes gives the sizes to try: the one the link names, or the one known here, or else what each source says, one
// after the other. A wrong one is found out as soon as something is checked. The error is why there is none.
func (c *Control) sizes(hash tree.Hash, request controlRequest) (next func() (int64, bool, error)) {
	known, sources := request.Size, request.From
	if file, err := c.store.Get(hash); known == nil && err == nil {
		size := file.Info().Size
		known = &size
	}
	if known != nil {
		sources = nil
	}
	tried, reasons := map[int64]bool{}, map[string]error{}
	return func() (int64, bool, error) {
		if size := known; size != nil {
			known = nil
			return *size, true, nil
		}
		for len(sources) > 0 {
			source := sources[0]
			sources = sources[1:]
			size, err := c.downloads.askSize(source, hash)
			if err == nil && !tried[size] {
				tried[size] = true
				return size, true, nil
			}
			reasons[source] = err
		}
		return 0, false, noSource(request.From, reasons)
	}
}

func (c *Control) deliver(conn Conn, gone <-chan struct{}, hash tree.Hash, size int64, request controlRequest) error {
	if size < 0 || request.Offset > size {
		return fmt.Errorf("%w: an offset of %d in a file of %d bytes", errBadRequest, request.Offset, size)
	}
	if size == 0 && hash != tree.Whole(nil) {
		return fmt.Errorf("%w: only one hash belongs to no bytes", store.ErrSize)
	}
	file, err := c.store.Expect(hash, size, request.Name)
	if err != nil {
		return err
	}
	f := follower{conn: conn, file: file, gone: gone}
	if !file.Info().Complete() {
		dl, leave, err := c.downloads.join(file, request.From)
		if err != nil {
			return err
		}
		defer leave()
		f.download = dl
		if err := f.started(); err != nil {
			return err
		}
	}
	if err := writeLine(conn, map[string]int64{"size": size, "have": file.Info().Have}); err != nil {
		return begun{err}
	}
	if err := f.copy(request.Offset); err != nil {
		return begun{err}
	}
	return nil
}

// watch reads on, to notice when the other end is cut off; what it sends is of no interest.
func watch(in io.Reader) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		if _, err := io.Copy(io.Discard, in); err != nil {
			close(gone)
		}
	}()
	return gone
}

// follower gives one operator's command what a file has, and waits for the rest.
type follower struct {
	conn     Conn
	file     *store.File
	download *download // nil when the file is complete
	gone     <-chan struct{}
}

// wait waits for progress of the download.
func (f *follower) wait(moved <-chan struct{}) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-moved:
			return nil
		case <-f.gone:
			return polypeer.ErrConnectionLost
		case <-ticker.C:
			if _, err := f.conn.Write(nil); err != nil { // an empty write looks whether anybody still reads
				return err
			}
		}
	}
}

// started waits until there is something to give, or the download has failed.
func (f *follower) started() error {
	first := f.file.Info().Have
	for {
		ended, err, moved := f.download.state()
		if ended || f.file.Info().Have > first {
			if err != nil && !f.file.Info().Complete() {
				return err
			}
			return nil
		}
		if err := f.wait(moved); err != nil {
			return err
		}
	}
}

// copy writes the file from an offset on, each group checked as it is read.
func (f *follower) copy(offset int64) error {
	var reader *store.Reader
	defer func() {
		if reader != nil {
			reader.Close()
		}
	}()
	for size := f.file.Info().Size; offset < size; {
		var ended bool
		var failed error
		var moved <-chan struct{}
		if f.download != nil {
			ended, failed, moved = f.download.state()
		}
		if have := f.file.Info().Have; have <= offset {
			switch {
			case f.download == nil:
				return store.ErrDamaged
			case ended && failed != nil:
				return failed
			case ended:
				return store.ErrDamaged
			}
			if err := f.wait(moved); err != nil {
				return err
			}
			continue
		}
		if reader == nil {
			var err error
			if reader, err = f.file.Read(); err != nil {
				return err
			}
		}
		number := offset / tree.Group
		group, err := reader.Group(number)
		if err != nil {
			return err
		}
		_ = f.conn.SetWriteDeadline(time.Now().Add(stallTime))
		n, err := f.conn.Write(group[offset-number*tree.Group:])
		offset += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

package share

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// half is one direction of a stream in memory: at most 64 KiB wait, the end and its kind are exact.
type half struct {
	mu      sync.Mutex
	changed *sync.Cond
	buf     []byte
	end     error // what a reader gets after buf
	stopped error // what a writer gets
}

func newHalf() *half {
	h := &half{}
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && h.end == nil {
		h.changed.Wait()
	}
	if len(h.buf) == 0 {
		return 0, h.end
	}
	n := copy(p, h.buf)
	h.buf = h.buf[n:]
	h.changed.Broadcast()
	return n, nil
}

func (h *half) write(p []byte) (total int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.stopped != nil {
			return total, h.stopped
		}
		if h.end != nil {
			return total, net.ErrClosed
		}
		n := min(len(p), 64<<10-len(h.buf))
		h.buf = append(h.buf, p[:n]...)
		total, p = total+n, p[n:]
		h.changed.Broadcast()
		if len(p) == 0 {
			return total, nil
		}
		h.changed.Wait()
	}
}

// finish ends the direction from its writer's side; abrupt ends drop what waits.
func (h *half) finish(end error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.end = end
		if end != io.EOF {
			h.buf = nil
		}
	}
	h.changed.Broadcast()
}

func (h *half) stop(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped == nil {
		h.stopped = err
	}
	if h.end == nil {
		h.end, h.buf = net.ErrClosed, nil
	}
	h.changed.Broadcast()
}

// stream is a Conn in memory, as the SDK's behaves.
type stream struct {
	net.Conn // nil: what is not overridden is not used
	in, out  *half
}

func newStream() (a, b *stream) {
	x, y := newHalf(), newHalf()
	return &stream{in: x, out: y}, &stream{in: y, out: x}
}

func (s *stream) Read(p []byte) (int, error)       { return s.in.read(p) }
func (s *stream) Write(p []byte) (int, error)      { return s.out.write(p) }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
func (s *stream) CloseWrite() error                { s.out.finish(io.EOF); return nil }
func (s *stream) Close() error {
	s.out.finish(io.EOF)
	s.in.stop(&polypeer.StreamError{Stop: true})
	return nil
}
func (s *stream) Reset(code polypeer.ErrorCode) error {
	s.out.finish(&polypeer.StreamError{Code: code})
	s.in.stop(&polypeer.StreamError{Code: code, Stop: true})
	return nil
}

// cut is what a dead peer or process looks like.
func (s *stream) cut() { _ = s.Reset(polypeer.CodeConnectionLost) }

// overlay is a network of peers by name: each answers a stream as it likes.
type overlay struct {
	mu    sync.Mutex
	peers map[string]func(*stream)
	dials map[string]int
}

func newOverlay() *overlay {
	return &overlay{peers: map[string]func(*stream){}, dials: map[string]int{}}
}

func (o *overlay) Dial(_ context.Context, peer, protocol string) (Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dials[peer]++
	answer := o.peers[peer]
	if answer == nil || protocol != PeerProtocol {
		return nil, polypeer.ErrUnreachable
	}
	near, far := newStream()
	go answer(far)
	return near, nil
}

func (o *overlay) dialed(peer string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dials[peer]
}

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*131 + i>>8 + i>>16)
	}
	return b
}

// seed is an honest peer with one file.
func seed(t *testing.T, data []byte) (*Server, tree.Hash) {
	t.Helper()
	s, hash := filled(t, data)
	return NewServer(s), hash
}

func filled(t *testing.T, data []byte) (*store.Store, tree.Hash) {
	t.Helper()
	s, _, err := store.Open(t.TempDir(), store.MaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Add(int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += tree.Group {
		if err := in.Write(data[at:min(len(data), at+tree.Group)]); err != nil {
			t.Fatal(err)
		}
	}
	info, err := in.Finish("seeded", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return s, info.Hash
}

// app is the node under test.
type app struct {
	t         *testing.T
	dir       string
	store     *store.Store
	downloads *Downloads
	control   *Control
}

func newApp(t *testing.T, dir string, o *overlay) *app {
	t.Helper()
	s, problems, err := store.Open(dir, store.MaxBytes)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	a := &app{t: t, dir: dir, store: s, downloads: NewDownloads(s, o)}
	a.control = NewControl(s, a.downloads, nil)
	t.Cleanup(a.downloads.Close)
	return a
}

// ask opens a control stream and sends one line.
func (a *app) ask(request any) *stream {
	near, far := newStream()
	go a.control.handle(far)
	if err := writeLine(near, request); err != nil {
		a.t.Fatal(err)
	}
	return near
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen in time")
		}
	}
}

var errNotThere = errors.New("not there")

type got struct {
	Size, Have int64
	Error      string
	Code       int
}

// get runs the operation `get` to its end.
func (a *app) get(hash tree.Hash, size, offset int, from ...string) (got, []byte, error) {
	conn := a.ask(map[string]any{"op": "get", "hash": hash.String(), "size": size, "from": from, "offset": offset})
	_ = conn.CloseWrite()
	return answer(conn)
}

func answer(conn *stream) (g got, data []byte, err error) {
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return g, nil, err
	}
	if err := json.Unmarshal(line, &g); err != nil {
		return g, nil, err
	}
	data, err = io.ReadAll(in)
	_ = conn.Close()
	return g, data, err
}

// list runs the operation `list`.
func (a *app) list() (files []listed) {
	decoder := json.NewDecoder(a.ask(map[string]any{"op": "list"}))
	for {
		var file listed
		err := decoder.Decode(&file)
		if err == io.EOF {
			return files
		}
		if err != nil {
			a.t.Fatal(err)
		}
		files = append(files, file)
	}
}

func (a *app) why(hash tree.Hash) string {
	g, _, err := answer(a.ask(map[string]any{"op": "why", "hash": hash.String()}))
	if err != nil {
		a.t.Fatal(err)
	}
	return g.Error
}

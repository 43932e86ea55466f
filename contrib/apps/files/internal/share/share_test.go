package share

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lukechampine.com/blake3"
	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

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

func TestFileIsFetchedVerifiedAndKept(t *testing.T) {
	for _, size := range []int{1, 1000, tree.Group, tree.Group + 1, 5*tree.Group + 77} {
		data, o := content(size), newOverlay()
		server, hash := seed(t, data)
		o.peers["a"] = func(s *stream) { server.handle(s) }
		a := newApp(t, t.TempDir(), o)
		g, body, err := a.get(hash, size, 0, "gone", "a")
		if err != nil || g.Size != int64(size) || !bytes.Equal(body, data) {
			t.Fatal(size, g, len(body), err)
		}
		a.downloads.Close()
		// again, from an offset, after a restart, without any source
		again := newApp(t, a.dir, newOverlay())
		if g, body, err = again.get(hash, size, size/2); err != nil || g.Have != int64(size) || !bytes.Equal(body, data[size/2:]) {
			t.Fatal(size, g, len(body), err)
		}
	}
}

func TestFileOfNoBytesNeedsNobody(t *testing.T) {
	a := newApp(t, t.TempDir(), newOverlay())
	if g, body, err := a.get(tree.Whole(nil), 0, 0); err != nil || g.Error != "" || len(body) != 0 {
		t.Fatal(g, body, err)
	}
	if g, _, _ := a.get(tree.Hash{1}, 0, 0); g.Code != codeBadRequest {
		t.Fatal(g)
	}
}

// liar answers as an honest server, but changes one byte of what it sends, at a place after the answer's line.
func liar(server *Server, at int) func(*stream) {
	return func(s *stream) {
		near, far := newStream()
		go server.handle(far)
		go func() { _, _ = io.Copy(near, s) }()
		in := bufio.NewReader(near)
		line, _ := in.ReadBytes('\n')
		_, _ = s.Write(line)
		body, _ := io.ReadAll(in)
		if at < len(body) {
			body[at] ^= 1
		}
		_, _ = s.Write(body)
		_ = s.Close()
	}
}

func TestLyingPeerIsNamedDroppedAndNothingOfItIsKept(t *testing.T) {
	const size = 4*tree.Group + 5
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	list := int(tree.ListSize(size))
	o.peers["liar-in-list"] = liar(server, 40)
	o.peers["liar-in-data"] = liar(server, list+2*tree.Group+9)
	a := newApp(t, t.TempDir(), o)
	g, body, err := a.get(hash, size, 0, "liar-in-list", "liar-in-data")
	if err == nil && g.Error == "" {
		t.Fatal("a lie went through")
	}
	if !bytes.Equal(body, data[:len(body)]) {
		t.Fatal("the operator got bytes that were not verified")
	}
	for _, name := range []string{"liar-in-list: it sent content that does not match", "liar-in-data: it sent"} {
		if why := a.why(hash); !strings.Contains(why, name) {
			t.Fatal(why)
		}
	}
	if o.dialed("liar-in-list") != 1 || o.dialed("liar-in-data") != 1 {
		t.Fatal("a liar was asked again:", o.dials)
	}
	file, err := a.store.Get(hash)
	if err != nil || file.Info().Have != 2*tree.Group {
		t.Fatal(file, err)
	}
	// an honest peer completes it
	o.mu.Lock()
	o.peers["honest"] = func(s *stream) { server.handle(s) }
	o.mu.Unlock()
	if g, body, err = a.get(hash, size, 0, "liar-in-data", "honest"); err != nil || !bytes.Equal(body, data) {
		t.Fatal(g, len(body), err)
	}
}

func TestPeerThatSaysAnotherSizeIsNotBelieved(t *testing.T) {
	data, o := content(3*tree.Group), newOverlay()
	server, hash := seed(t, data)
	o.peers["a"] = func(s *stream) { server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	for _, size := range []int{3*tree.Group - 1, 1 << 40} {
		if g, _, _ := a.get(hash, size, 0, "a"); g.Error == "" {
			t.Fatal(size, g)
		}
	}
	if g, body, err := a.get(hash, len(data), 0, "a"); err != nil || !bytes.Equal(body, data) {
		t.Fatal(g, len(body), err)
	}
}

func TestLinkWithoutASizeAsksTheSourcesAndChecksWhatTheySay(t *testing.T) {
	const size = 3*tree.Group + 17
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	claims := func(size int64) func(*stream) {
		return func(s *stream) { _ = writeLine(s, peerAnswer{Size: size}); _, _ = s.Write(data); _ = s.Close() }
	}
	o.peers["long"], o.peers["short"], o.peers["one-off"] = claims(1<<33), claims(9), claims(size-1)
	o.peers["honest"] = func(s *stream) { server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	conn := a.ask(map[string]any{"op": "get", "hash": hash.String(), "size": nil, "from": []string{"long", "short", "gone", "one-off", "honest"}, "offset": 5})
	if g, body, err := answer(conn); err != nil || g.Size != size || !bytes.Equal(body, data[5:]) {
		t.Fatal(g, len(body), err)
	}
	if g, _, _ := answer(a.ask(map[string]any{"op": "get", "hash": tree.Hash{1}.String(), "from": []string{"gone"}})); g.Code != codeAway {
		t.Fatal(g)
	}
}

// counting is an honest peer that is cut after so many bytes; it counts what it sent.
func counting(server *Server, most int, sent *int) func(*stream) {
	return func(s *stream) {
		near, far := newStream()
		go server.handle(far)
		go func() { _, _ = io.Copy(near, s) }()
		n, err := io.CopyN(s, near, int64(most))
		*sent += int(n)
		if err == io.EOF {
			_ = s.Close()
			return
		}
		_ = near.Close()
		s.cut()
	}
}

func TestResumeAfterACutTransfersOnlyTheRest(t *testing.T) {
	const size = 8*tree.Group + 100
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	var first, second int
	o.peers["a"] = counting(server, 5*tree.Group, &first)
	dir := t.TempDir()
	a := newApp(t, dir, o)
	_, body, err := a.get(hash, size, 0, "a")
	// the first round brought something, so there is a second one, which is cut too; in the end it completes or fails
	if err == nil && !bytes.Equal(body, data) {
		t.Fatal(len(body))
	}
	a.downloads.Close()

	dir = t.TempDir()
	o = newOverlay()
	o.peers["a"] = counting(server, 5*tree.Group, &second)
	b := newApp(t, dir, o)
	conn := b.ask(map[string]any{"op": "get", "hash": hash.String(), "size": size, "from": []string{"a"}, "offset": 0})
	until(t, func() bool { f, err := b.store.Get(hash); return err == nil && f.Info().Have >= 4*tree.Group })
	conn.cut() // the operator's command is gone
	b.downloads.Close()

	var rest int
	o = newOverlay()
	o.peers["a"] = counting(server, 100*tree.Group, &rest)
	c := newApp(t, dir, o)
	file, err := c.store.Get(hash)
	if err != nil || file.Info().Have < 4*tree.Group {
		t.Fatal("nothing was kept", err)
	}
	have := int(file.Info().Have)
	g, body, err := c.get(hash, size, 0, "a")
	if err != nil || !bytes.Equal(body, data) || rest > size-have+200 {
		t.Fatal(g, len(body), err, rest, size-have)
	}
}

func TestConcurrentGetsShareOneDownload(t *testing.T) {
	const size = 6*tree.Group + 1
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	begin := make(chan struct{})
	o.peers["a"] = func(s *stream) { <-begin; server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	results := make(chan error, 8)
	for i := 0; i < cap(results); i++ {
		go func() {
			_, body, err := a.get(hash, size, i*1000, "a")
			if err == nil && !bytes.Equal(body, data[i*1000:]) {
				err = errNotThere
			}
			results <- err
		}()
	}
	until(t, func() bool {
		a.downloads.mu.Lock()
		defer a.downloads.mu.Unlock()
		dl := a.downloads.active[hash]
		if dl == nil {
			return false
		}
		dl.mu.Lock()
		defer dl.mu.Unlock()
		return dl.wanted == cap(results)
	})
	close(begin)
	for i := 0; i < cap(results); i++ {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if n := o.dialed("a"); n != 1 {
		t.Fatal("the file was fetched", n, "times")
	}
}

func TestDownloadEndsWhenNobodyWantsItAndThePartIsKept(t *testing.T) {
	const size = 20 * tree.Group
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	stopped := make(chan error, 1)
	o.peers["a"] = func(s *stream) {
		list := tree.ListSize(size)
		near, far := newStream()
		go server.handle(far)
		go func() { _, _ = io.Copy(near, s) }()
		_, _ = io.CopyN(s, near, list+3*tree.Group+100) // then it stalls
		for {
			if _, err := s.Write(nil); err != nil {
				stopped <- err
				return
			}
		}
	}
	a := newApp(t, t.TempDir(), o)
	one := a.ask(map[string]any{"op": "get", "hash": hash.String(), "size": size, "from": []string{"a"}, "offset": 0})
	two := a.ask(map[string]any{"op": "get", "hash": hash.String(), "size": size, "from": []string{"a"}, "offset": 0})
	_ = one.CloseWrite()
	until(t, func() bool { f, err := a.store.Get(hash); return err == nil && f.Info().Have >= 2*tree.Group })
	_ = one.Close()
	two.cut()
	var s *polypeer.StreamError
	if err := <-stopped; !errors.As(err, &s) {
		t.Fatal(err)
	}
	until(t, func() bool { a.downloads.mu.Lock(); defer a.downloads.mu.Unlock(); return len(a.downloads.active) == 0 })
	if f, err := a.store.Get(hash); err != nil || f.Info().Have < 2*tree.Group {
		t.Fatal("the part was not kept", err)
	}
}

func TestAddListRemove(t *testing.T) {
	a := newApp(t, t.TempDir(), newOverlay())
	data := content(2*tree.Group + 3)
	names := []string{"../../etc/passwd", "a\nb\t\"\\\u202e", "nul\x00", strings.Repeat("é", 400), ""}
	for i, name := range names {
		conn := a.ask(map[string]any{"op": "add", "name": name, "size": len(data) + i})
		go func() { _, _ = conn.Write(append(data, make([]byte, i)...)); _ = conn.CloseWrite() }()
		in := bufio.NewReader(conn)
		var done struct {
			Hash, Name, Error string
			Size, Progress    int64
		}
		for done.Hash == "" && done.Error == "" {
			line, err := in.ReadBytes('\n')
			if err != nil || json.Unmarshal(line, &done) != nil {
				t.Fatal(string(line), err)
			}
		}
		if done.Hash != tree.Hash(blake3.Sum256(append(data, make([]byte, i)...))).String() || done.Name != name {
			t.Fatal(done)
		}
	}
	files := a.list()
	if len(files) != len(names) || !files[0].Offered || files[0].Expires != nil {
		t.Fatal(files)
	}
	entries, err := os.ReadDir(filepath.Join(a.dir, "files"))
	if err != nil || len(entries) != len(names) {
		t.Fatal(entries, err)
	}
	for _, entry := range entries {
		if _, err := tree.ParseHash(entry.Name()); err != nil {
			t.Fatal("a name became a path:", entry.Name())
		}
	}
	for _, file := range files {
		if g, _, _ := answer(a.ask(map[string]any{"op": "remove", "hash": file.Hash})); g.Error != "" {
			t.Fatal(g)
		}
	}
	if len(a.store.List()) != 0 {
		t.Fatal("still there")
	}
}

func TestAddOfAnotherSizeThanAnnouncedIsRefused(t *testing.T) {
	a := newApp(t, t.TempDir(), newOverlay())
	for _, sent := range []int{0, 99, 101, 300_000} {
		conn := a.ask(map[string]any{"op": "add", "name": "x", "size": 100})
		go func() { _, _ = conn.Write(content(sent)); _ = conn.CloseWrite() }()
		if g, _, _ := answer(conn); g.Code != codeBadRequest {
			t.Fatal(sent, g)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(a.dir, "incoming"))
	if len(entries) != 0 || len(a.store.List()) != 0 {
		t.Fatal("something was left behind")
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	a := newApp(t, t.TempDir(), newOverlay())
	for _, request := range []any{
		map[string]any{"op": "fly"}, map[string]any{"op": "get", "hash": "zz"}, "text", 7,
		map[string]any{"op": "get", "hash": tree.Hash{}.String(), "size": 5, "offset": 6},
		map[string]any{"op": "get", "hash": tree.Hash{}.String(), "offset": -1},
		map[string]any{"op": "add", "size": 1, "expires_s": -1}, map[string]any{"op": "add", "size": -1},
		map[string]any{"op": "list", "name": strings.Repeat("x", maxLine)},
	} {
		if g, _, err := answer(a.ask(request)); g.Code != codeBadRequest {
			t.Fatal(request, g, err)
		}
	}
	server := NewServer(a.store)
	for _, request := range []any{
		peerRequest{Op: "get", Hash: "../../x"}, peerRequest{Op: "put"}, 5,
		peerRequest{Op: "get", Hash: tree.Hash{}.String()},
	} {
		near, far := newStream()
		go server.handle(far)
		_ = writeLine(near, request)
		if g, _, err := answer(near); g.Error == "" {
			t.Fatal(request, g, err)
		}
	}
}

func TestDamagedCopyIsNeverGivenAndFetchedAnew(t *testing.T) {
	const size = 4 * tree.Group
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	o.peers["a"] = func(s *stream) { server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	if _, _, err := a.get(hash, size, 0, "a"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.dir, "files", hash.String(), "data")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stored[2*tree.Group+1] ^= 1
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	_, body, err := a.get(hash, size, 0, "a")
	var s *polypeer.StreamError
	if !errors.As(err, &s) || s.Code != codeDamaged || !bytes.Equal(body, data[:len(body)]) {
		t.Fatal(len(body), err)
	}
	if why := a.why(hash); !strings.Contains(why, "damaged") {
		t.Fatal(why)
	}
	if _, body, err := a.get(hash, size, 0, "a"); err != nil || !bytes.Equal(body, data) {
		t.Fatal(len(body), err)
	}
}

func TestContentOfUnknownSizeIsAddedUpToItsEnd(t *testing.T) {
	a := newApp(t, t.TempDir(), newOverlay())
	for _, size := range []int{0, 1, tree.Group, tree.Group + 1, 3 * tree.Group} {
		data := content(size)
		conn := a.ask(map[string]any{"op": "add", "name": "x", "expires_s": 100})
		go func() { _, _ = conn.Write(data); _ = conn.CloseWrite() }()
		var done struct {
			Hash string
			Size int
		}
		in := bufio.NewReader(conn)
		for done.Hash == "" {
			if line, err := in.ReadBytes('\n'); err != nil || json.Unmarshal(line, &done) != nil {
				t.Fatal(string(line), err)
			}
		}
		if done.Hash != tree.Hash(blake3.Sum256(data)).String() || done.Size != size {
			t.Fatal(size, done)
		}
		if g, body, err := a.get(tree.Hash(blake3.Sum256(data)), size, 0); err != nil || !bytes.Equal(body, data) {
			t.Fatal(size, g, err)
		}
	}
	conn := a.ask(map[string]any{"op": "add", "name": "cut"})
	_, _ = conn.Write(content(2 * tree.Group))
	conn.cut()
	until(t, func() bool {
		entries, err := os.ReadDir(filepath.Join(a.dir, "incoming"))
		return err == nil && len(entries) == 0
	})
	files := a.list()
	if len(files) != 5 {
		t.Fatal("what was cut was kept:", files)
	}
	for _, file := range files {
		if file.Expires == nil || *file.Expires > 100 || *file.Expires < 90 {
			t.Fatal(file)
		}
	}
}

func TestFileThatIsStoppedIsKeptAndNotGivenToPeers(t *testing.T) {
	data, o := content(2*tree.Group), newOverlay()
	server, hash := seed(t, data)
	o.peers["a"] = func(s *stream) { server.handle(s) }
	seeder := &app{t: t, store: server.Store, downloads: NewDownloads(server.Store, o)}
	seeder.control = NewControl(server.Store, seeder.downloads, nil)
	t.Cleanup(seeder.downloads.Close)
	if g, _, _ := answer(seeder.ask(map[string]any{"op": "stop", "hash": hash.String()})); g.Error != "" {
		t.Fatal(g)
	}
	if files := seeder.list(); len(files) != 1 || files[0].Offered {
		t.Fatal(files)
	}
	a := newApp(t, t.TempDir(), o)
	if g, _, err := a.get(hash, len(data), 0, "a"); g.Code != codeNoSource || !strings.Contains(g.Error, "no such file") {
		t.Fatal(g, err)
	}
	if _, body, err := seeder.get(hash, len(data), 0); err != nil || !bytes.Equal(body, data) {
		t.Fatal("the operator does not get it:", err)
	}
}

func TestReasonTellsPeersThatAreAwayFromThoseThatHaveNot(t *testing.T) {
	o := newOverlay()
	server, _ := seed(t, content(1))
	o.peers["empty"] = func(s *stream) { server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	for _, c := range []struct {
		from []string
		code int
	}{{[]string{"gone", "away"}, codeAway}, {[]string{"gone", "empty"}, codeNoSource}, {nil, codeNoSource}} {
		g, _, err := a.get(tree.Hash{1}, 5, 0, c.from...)
		if g.Code != c.code {
			t.Fatal(c, g, err)
		}
		if why, _, _ := answer(a.ask(map[string]any{"op": "why", "hash": tree.Hash{1}.String()})); why.Code != c.code || why.Error != g.Error {
			t.Fatal(c, why)
		}
	}
}

package share

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

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

func TestFailedGetOfWhichNothingCameLeavesNothing(t *testing.T) {
	const size = 3 * tree.Group
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	o.peers["without"] = func(s *stream) { server.handle(s) }
	a := newApp(t, t.TempDir(), o)
	wrong := tree.Hash{1}
	for i := 0; i < 2; i++ {
		if g, _, _ := a.get(wrong, size, 0, "without", "gone"); g.Error == "" {
			t.Fatal(g)
		}
		if l := a.store.List(); len(l) != 0 {
			t.Fatal("it is listed:", l)
		}
	}
	// the operator's command is gone before anything came
	o.mu.Lock()
	asked := make(chan struct{})
	o.peers["silent"] = func(s *stream) { close(asked); _, _ = io.Copy(io.Discard, s) }
	o.mu.Unlock()
	conn := a.ask(map[string]any{"op": "get", "hash": hash.String(), "size": size, "from": []string{"silent"}, "offset": 0})
	<-asked
	conn.cut()
	until(t, func() bool { return len(a.store.List()) == 0 })
	if g, body, err := a.get(hash, size, 0, "without"); err != nil || !bytes.Equal(body, data) {
		t.Fatal(g, len(body), err)
	}
}

func TestListSaysHowMuchOfAPartIsHere(t *testing.T) {
	const size = 4 * tree.Group
	data, o := content(size), newOverlay()
	server, hash := seed(t, data)
	o.peers["liar"] = liar(server, int(tree.ListSize(size))+2*tree.Group+9)
	a := newApp(t, t.TempDir(), o)
	_, _, _ = a.get(hash, size, 0, "liar")
	var line listed
	if err := readLine(bufio.NewReader(a.ask(map[string]any{"op": "list"})), maxAnswer, &line); err != nil || line.Size != size || line.Have != 2*tree.Group {
		t.Fatal(line, err)
	}
}

package share

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lukechampine.com/blake3"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

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

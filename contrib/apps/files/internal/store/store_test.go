package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, problems, err := Open(dir, MaxBytes)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	return s
}

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + i>>9 + i>>18)
	}
	return b
}

func list(data []byte) []byte {
	var out []byte
	for group := int64(0); group < tree.Groups(int64(len(data))); group++ {
		value := tree.Of(group, part(data, group))
		out = append(out, value[:]...)
	}
	return out
}

func part(data []byte, group int64) []byte {
	return data[group*tree.Group:][:tree.Length(int64(len(data)), group)]
}

// partly is a file of which so many groups are there.
func partly(t *testing.T, s *Store, data []byte, groups int64) *File {
	t.Helper()
	f, err := s.Expect(blake3.Sum256(data), int64(len(data)), "name")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetList(bytes.NewReader(list(data))); err != nil {
		t.Fatal(err)
	}
	w, err := f.Append()
	if err != nil {
		t.Fatal(err)
	}
	for group := int64(0); group < groups; group++ {
		if err := w.Write(part(data, group)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPartSurvivesAndGroupsThatDoNotBelongAreRefused(t *testing.T) {
	dir, data := t.TempDir(), content(4*tree.Group+9)
	partly(t, open(t, dir), data, 2)
	s := open(t, dir)
	f, err := s.Get(blake3.Sum256(data))
	if err != nil || f.Info().Have != 2*tree.Group || f.NeedsList() || f.Info().Name != "name" {
		t.Fatal(f, err)
	}
	w, err := f.Append()
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range [][]byte{part(data, 3), part(data, 2)[:100], append(part(data, 2)[1:len(part(data, 2)):len(part(data, 2))], 0), nil} {
		if err := w.Write(group); !errors.Is(err, tree.ErrMismatch) || f.Info().Have != 2*tree.Group {
			t.Fatal(err)
		}
	}
	for group := int64(2); group < 5; group++ {
		if err := w.Write(part(data, group)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || !f.Info().Complete() {
		t.Fatal(f.Info(), err)
	}
	r, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for group := int64(0); group < 5; group++ {
		if got, err := r.Group(group); err != nil || !bytes.Equal(got, part(data, group)) {
			t.Fatal(group, err)
		}
	}
}

func TestMetaThatSpeaksOfMoreThanThereIsGoesBack(t *testing.T) {
	dir, data := t.TempDir(), content(4*tree.Group)
	partly(t, open(t, dir), data, 3)
	path := filepath.Join(dir, "files", tree.Hash(blake3.Sum256(data)).String(), "data")
	if err := os.Truncate(path, tree.Group+5); err != nil {
		t.Fatal(err)
	}
	f, err := open(t, dir).Get(blake3.Sum256(data))
	if err != nil || f.Info().Have != tree.Group {
		t.Fatal(f, err)
	}
}

func TestUnreadableMetaIsSetAsideAndTheRestLives(t *testing.T) {
	dir, data, other := t.TempDir(), content(2*tree.Group), content(3*tree.Group)
	s := open(t, dir)
	partly(t, s, data, 2)
	partly(t, s, other, 3)
	hash := tree.Hash(blake3.Sum256(data))
	folder := filepath.Join(dir, "files", hash.String())
	for _, bad := range []string{"", "{", `{"version":1,"size":5,"have":9}`, `{"version":1,"size":524288,"have":77}`, `{"version":9}`} {
		if err := os.WriteFile(filepath.Join(folder, "meta"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		s, problems, err := Open(dir, MaxBytes)
		if err != nil || len(problems) != 1 || len(s.List()) != 1 {
			t.Fatal(bad, problems, err)
		}
		if err := os.Rename(folder+".damaged", folder); err != nil {
			t.Fatal("it was not kept for a person to look at:", err)
		}
	}
}

func TestIncomingIsSweptAtTheStart(t *testing.T) {
	dir := t.TempDir()
	in, err := open(t, dir).Add(tree.Group * 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Write(content(tree.Group)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if entries, _ := os.ReadDir(filepath.Join(dir, "incoming")); len(entries) != 0 || len(s.List()) != 0 {
		t.Fatal(entries)
	}
}

func TestStoreThatIsFullSaysSo(t *testing.T) {
	s := open(t, t.TempDir())
	s.most = 3 * tree.Group
	in, err := s.Add(2 * tree.Group)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expect(tree.Hash{1}, tree.Group+1, ""); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if _, err := s.Add(s.most + 1); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	in.Discard()
	for i := byte(0); i < 3; i++ {
		if _, err := s.Expect(tree.Hash{i}, tree.Group, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Expect(tree.Hash{9}, 1, ""); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if err := s.Remove(tree.Hash{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expect(tree.Hash{9}, 1, ""); err != nil {
		t.Fatal(err)
	}
	s.most, s.mostFiles = MaxBytes, len(s.files)+1
	if _, err := s.Expect(tree.Hash{10}, 1, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expect(tree.Hash{11}, 1, ""); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
}

// TestDiskThatIsFullKeepsThePart limits the size of files this process may write, which fails as a full disk does.
func TestDiskThatIsFullKeepsThePart(t *testing.T) {
	dir, data := t.TempDir(), content(6*tree.Group)
	f := partly(t, open(t, dir), data, 2)
	w, err := f.Append()
	if err != nil {
		t.Fatal(err)
	}
	limitFileSize(t, 3*tree.Group+1000)
	err = nil
	group := int64(2)
	for ; err == nil; group++ {
		err = w.Write(part(data, group))
	}
	if !errors.Is(err, ErrDisk) || group != 4 {
		t.Fatal(group, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	g, err := open(t, dir).Get(f.Info().Hash)
	if err != nil || g.Info().Have != 3*tree.Group {
		t.Fatal(g, err)
	}
}

func limitFileSize(t *testing.T, most uint64) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limited := before
	limited.Cur = most
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) })
}

func TestSizeThatWasOnlyClaimedCanBeCorrected(t *testing.T) {
	s, data := open(t, t.TempDir()), content(2*tree.Group)
	hash := tree.Hash(blake3.Sum256(data))
	if _, err := s.Expect(hash, 99*tree.Group, ""); err != nil {
		t.Fatal(err)
	}
	old := partly(t, s, data, 1)
	for _, size := range []int64{99 * tree.Group, 2*tree.Group + 1, tree.Group, 1} {
		if _, err := s.Expect(hash, size, ""); !errors.Is(err, ErrSize) {
			t.Fatal("a checked size was given up:", size, err)
		}
	}
	// another length of the last group is possible until that group was checked; what is there stays
	f, err := s.Expect(hash, 2*tree.Group-1, "")
	if err != nil || f.Info().Have != tree.Group || f.NeedsList() {
		t.Fatal(f, err)
	}
	if w, err := old.Append(); err != nil || w.Sync() == nil {
		t.Fatal("the old size can still be written:", err)
	}
	if g := partly(t, s, data, 0); g.Info().Have != tree.Group || g.Info().Size != int64(len(data)) {
		t.Fatal(g.Info())
	}
}

func TestAddReplacesAPartAndAWhole(t *testing.T) {
	s, data := open(t, t.TempDir()), content(3*tree.Group)
	partly(t, s, data, 1)
	for i := 0; i < 2; i++ {
		in, err := s.Add(int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for group := int64(0); group < 3; group++ {
			if err := in.Write(part(data, group)); err != nil {
				t.Fatal(err)
			}
		}
		info, err := in.Finish("whole", time.Time{})
		if err != nil || !info.Complete() || info.Hash != blake3.Sum256(data) {
			t.Fatal(info, err)
		}
	}
	if l := s.List(); len(l) != 1 || !l[0].Complete() {
		t.Fatal(l)
	}
}

func TestAddMendsADamagedCopy(t *testing.T) {
	for _, size := range []int{1000, 3 * tree.Group} {
		dir, data := t.TempDir(), content(size)
		s := open(t, dir)
		add := func(name string) *File {
			in, err := s.Add(int64(size))
			if err != nil {
				t.Fatal(err)
			}
			for group := int64(0); group < tree.Groups(int64(size)); group++ {
				if err := in.Write(part(data, group)); err != nil {
					t.Fatal(err)
				}
			}
			info, err := in.Finish(name, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			f, err := s.Get(info.Hash)
			if err != nil || f.Info() != info {
				t.Fatal(f, err)
			}
			return f
		}
		old := add("first")
		if err := os.WriteFile(filepath.Join(old.folder, "data"), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		reader, err := old.Read()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		add("second")
		if _, err := reader.Group(0); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		for _, s := range []*Store{s, open(t, dir)} { // in memory and on the disk
			f, err := s.Get(old.info.Hash)
			if err != nil || !f.Info().Complete() || f.Info().Name != "second" {
				t.Fatal(f, err)
			}
			again, err := f.Read()
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if group, err := again.Group(0); err != nil || !bytes.Equal(group, part(data, 0)) {
				t.Fatal(err)
			}
		}
	}
}

func TestCloneAfterTheEndIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	in, err := s.Add(1000)
	if err != nil {
		t.Fatal(err)
	}
	in.Discard()
	from, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if err := in.Clone(from); !errors.Is(err, ErrSize) {
		t.Fatal(err)
	}
	if err := clone(in.data, from); err == nil {
		t.Fatal("a closed file was used")
	}
}

package store

import (
	"errors"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// added is a file that the operator added.
func added(t *testing.T, s *Store, data []byte, expires time.Time) Info {
	t.Helper()
	in, err := s.Add(UnknownSize)
	if err != nil {
		t.Fatal(err)
	}
	for group := int64(0); group < tree.Groups(int64(len(data))); group++ {
		if err := in.Write(part(data, group)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := in.Finish("added", expires)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// at is a store whose clock is moved by hand.
func at(t *testing.T, dir string, now *time.Time) *Store {
	t.Helper()
	s := open(t, dir)
	s.now = func() time.Time { return *now }
	return s
}

func names(s *Store) (names []string) {
	for _, info := range s.List() {
		names = append(names, info.Name)
	}
	return names
}

func TestWhatWasFetchedExpiresAndWhatWasAddedStays(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	s := at(t, dir, &now)
	whole, half := content(2*tree.Group), content(3*tree.Group)
	partly(t, s, whole, 2)
	partly(t, s, half, 1)
	added(t, s, content(1), time.Time{})
	added(t, s, content(2), now.Add(time.Hour))
	for _, step := range []struct {
		after time.Duration
		left  int
	}{{59 * time.Minute, 4}, {time.Hour, 3}, {KeepFetched - time.Second, 3}, {KeepFetched + time.Second, 2}, {KeepParts + time.Second, 1}} {
		s = at(t, dir, &now) // what is known survives a restart
		began := now
		now = began.Add(step.after)
		if err := s.Sweep(); err != nil || len(s.List()) != step.left {
			t.Fatal(step, names(s), err)
		}
		now = began
	}
}

func TestFetchedFileThatIsAskedForAgainStaysLonger(t *testing.T) {
	now := time.Now()
	s := at(t, t.TempDir(), &now)
	data := content(2 * tree.Group)
	partly(t, s, data, 2)
	now = now.Add(KeepFetched / 2)
	if _, err := s.Expect(blake3.Sum256(data), int64(len(data)), ""); err != nil {
		t.Fatal(err)
	}
	now = now.Add(KeepFetched/2 + time.Hour)
	if err := s.Sweep(); err != nil || len(s.List()) != 1 {
		t.Fatal(names(s), err)
	}
	info := added(t, s, data, time.Time{})
	if got, err := s.Get(info.Hash); err != nil || got.Info().Fetched || !got.Info().Expires.IsZero() {
		t.Fatal("the operator added it, and it still expires:", got, err)
	}
}

func TestFetchedCopiesMakeWayAndAddedFilesDoNot(t *testing.T) {
	now := time.Now()
	s := at(t, t.TempDir(), &now)
	s.most = 3 * onDisk(2*tree.Group)
	size := 2 * tree.Group
	partly(t, s, content(size), 2)
	now = now.Add(time.Hour)
	added(t, s, content(size + 1)[1:], time.Time{})
	partly(t, s, content(size-1), 2)
	first := added(t, s, content(size + 2)[2:], time.Time{}) // the copy that expires first makes way
	if l := s.List(); len(l) != 3 || !first.Complete() {
		t.Fatal(l)
	}
	if _, err := s.Get(blake3.Sum256(content(size - 1))); err != nil {
		t.Fatal("the other copy made way")
	}
	added(t, s, content(size + 3)[3:], time.Time{})
	in, err := s.Add(UnknownSize)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Discard()
	if err := in.Write(content(tree.Group)); !errors.Is(err, ErrFull) {
		t.Fatal("the limit does not hold for content of unknown size:", err)
	}
	for _, info := range s.List() {
		if info.Fetched {
			t.Fatal(info)
		}
	}
}

func TestFileThatIsStoppedStaysStopped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	info := added(t, s, content(5), time.Time{})
	if err := s.Stop(info.Hash); err != nil {
		t.Fatal(err)
	}
	if l := open(t, dir).List(); len(l) != 1 || l[0].Offered() {
		t.Fatal(l)
	}
	if added(t, open(t, dir), content(5), time.Time{}); !open(t, dir).List()[0].Offered() {
		t.Fatal("it was added again and is not offered")
	}
	if err := s.Stop(tree.Hash{1}); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
}

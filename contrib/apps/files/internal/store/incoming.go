package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// UnknownSize is the size of a file that is being added while it is still being made.
const UnknownSize = -1

// reserveStep is how much room a file of unknown size asks for at a time.
const reserveStep = 64 << 20

// Incoming is a file that the operator is adding: its hash is known at the end.
type Incoming struct {
	store      *Store
	folder     string
	size, have int64 // size may be UnknownSize
	reserved   int64 // the room it has
	data, list *os.File
	group      []byte // of a file of one group: its content
	ended      bool   // a group came that was not whole
	rooter     tree.Rooter

	mu     sync.Mutex // of a clone, the first write and the end
	cloned bool
	closed bool // it is finished or discarded: no clone may come any more
}

// Add makes a place for a new file.
func (s *Store) Add(size int64) (*Incoming, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reserved := size
	if size == UnknownSize {
		reserved = 0
	}
	if err := s.room(reserved, true); err != nil {
		return nil, err
	}
	s.next++
	in := &Incoming{store: s, size: size, reserved: reserved, folder: filepath.Join(s.dir, "incoming", fmt.Sprint(s.next))}
	if err := os.Mkdir(in.folder, 0o700); err != nil {
		return nil, disk(err)
	}
	var err error
	if in.data, err = os.OpenFile(filepath.Join(in.folder, "data"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		in.list, err = os.OpenFile(filepath.Join(in.folder, "list"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		in.discard()
		return nil, disk(err)
	}
	s.incoming[in] = struct{}{}
	return in, nil
}

// Write takes the next group: each whole, but the last.
func (in *Incoming) Write(group []byte) error {
	number := in.have / tree.Group
	switch {
	case in.ended || len(group) == 0 || len(group) > tree.Group:
		return fmt.Errorf("%w: a group came after the last", ErrSize)
	case in.size != UnknownSize && len(group) != tree.Length(in.size, number):
		return fmt.Errorf("%w: %d bytes were announced", ErrSize, in.size)
	}
	in.ended = len(group) < tree.Group
	if err := in.reserve(in.have + int64(len(group))); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, err := in.data.Write(group); err != nil {
		return disk(err)
	}
	return in.note(group)
}

// note takes account of the next group, which is in the data.
func (in *Incoming) note(group []byte) error {
	number := in.have / tree.Group
	if number == 0 {
		in.group = append(in.group[:0], group...)
	}
	value := tree.Of(number, group)
	in.rooter.Add(value)
	if _, err := in.list.Write(value[:]); err != nil {
		return disk(err)
	}
	in.have += int64(len(group))
	return nil
}

// Clone takes the content of a file by sharing its blocks, as it is at this moment, if the file system can and nothing
// was written yet. Nothing has changed when it fails.
func (in *Incoming) Clone(from *os.File) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.have > 0 || in.size == UnknownSize {
		return fmt.Errorf("%w: the content came otherwise", ErrSize)
	}
	err := clone(in.data, from)
	if err == nil {
		var info os.FileInfo
		if info, err = in.data.Stat(); err == nil && info.Size() != in.size {
			err = fmt.Errorf("%w: %d bytes were announced, it has %d", ErrSize, in.size, info.Size())
		}
	}
	if err != nil {
		_ = in.data.Truncate(0)
		return err
	}
	in.cloned = true
	return nil
}

// Cloned reports whether the content was taken by [Incoming.Clone], so that none need be written.
func (in *Incoming) Cloned() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.cloned
}

// ReadCloned reads the content that was cloned, and tells how far it is.
func (in *Incoming) ReadCloned(tell func(have int64) error) error {
	data, err := os.Open(filepath.Join(in.folder, "data"))
	if err != nil {
		return err
	}
	defer data.Close()
	buf := make([]byte, tree.Group)
	for number := int64(0); number < tree.Groups(in.size); number++ {
		group := buf[:tree.Length(in.size, number)]
		if _, err := io.ReadFull(data, group); err != nil {
			return err
		}
		if err := in.note(group); err != nil {
			return err
		}
		if err := tell(in.have); err != nil {
			return err
		}
	}
	return nil
}

// reserve asks for more room if so many bytes need it.
func (in *Incoming) reserve(size int64) error {
	if size <= in.reserved {
		return nil
	}
	s := in.store
	s.mu.Lock()
	defer s.mu.Unlock()
	step := int64(reserveStep)
	if s.reserved()+onDisk(step) > s.most {
		step = size - in.reserved
	}
	if err := s.room(step, false); err != nil {
		return err
	}
	in.reserved += step
	return nil
}

// Finish keeps the file, if all of it came, until the time given; zero: until it is removed. One that is here already
// is replaced, whether whole, and then perhaps damaged on the disk, or partly fetched.
func (in *Incoming) Finish(name string, expires time.Time) (Info, error) {
	in.close()
	info, err := in.finish(Info{Name: cutName(name), Size: in.have, Have: in.have, Expires: expires})
	in.Discard() // what was not kept
	return info, err
}

func (in *Incoming) finish(info Info) (Info, error) {
	if in.size != UnknownSize && in.have != in.size {
		return Info{}, fmt.Errorf("%w: %d bytes were announced, %d came", ErrSize, in.size, in.have)
	}
	if tree.ListSize(info.Size) > 0 {
		info.Hash = in.rooter.Root()
	} else {
		info.Hash = tree.Whole(in.group)
		if err := in.list.Truncate(0); err != nil { // it has no list
			return Info{}, disk(err)
		}
	}
	for _, f := range []*os.File{in.data, in.list} {
		if err := f.Sync(); err != nil {
			return Info{}, disk(err)
		}
	}
	s := in.store
	file := &File{store: s, folder: in.folder, info: info, listed: true}
	if err := file.save(); err != nil {
		return Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.files[info.Hash]; old != nil {
		if replaced, err := in.replace(old, file); replaced || err != nil {
			return info, err
		}
		if err := s.remove(old); err != nil {
			return Info{}, err
		}
	}
	file.folder = s.folder(info.Hash)
	if err := os.Rename(in.folder, file.folder); err != nil {
		return Info{}, disk(err)
	}
	if err := syncFolder(filepath.Dir(file.folder)); err != nil {
		return Info{}, disk(err)
	}
	s.files[info.Hash] = file
	return info, nil
}

// replace puts the new file in the place of a whole one of the same hash; false when `old` is not whole. A crash in
// between leaves the new or the old content, which are the same but for damage. Who reads the old one goes on reading
// it. s.mu is held.
func (in *Incoming) replace(old, file *File) (bool, error) {
	old.mu.Lock()
	defer old.mu.Unlock()
	if !old.info.Complete() {
		return false, nil
	}
	for _, name := range []string{"data", "list"} {
		if err := os.Rename(filepath.Join(in.folder, name), filepath.Join(old.folder, name)); err != nil {
			return false, disk(err)
		}
	}
	file.folder = old.folder
	if err := file.save(); err != nil {
		return false, err
	}
	old.removed = true // a reader that still finds the old damage does not cut the new file back
	in.store.files[file.info.Hash] = file
	return true, nil
}

// close lets no clone come any more.
func (in *Incoming) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
}

// Discard gives up.
func (in *Incoming) Discard() {
	in.close()
	in.store.mu.Lock()
	defer in.store.mu.Unlock()
	delete(in.store.incoming, in)
	in.discard()
}

func (in *Incoming) discard() {
	for _, f := range []*os.File{in.data, in.list} {
		if f != nil {
			_ = f.Close()
		}
	}
	_ = os.RemoveAll(in.folder) // swept at the next start otherwise
}

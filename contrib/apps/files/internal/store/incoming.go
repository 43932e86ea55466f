package store

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// Incoming is a file that the operator is adding: its hash is known at the end.
type Incoming struct {
	store      *Store
	folder     string
	size, have int64
	data, list *os.File
	group      []byte
	rooter     tree.Rooter
}

// Add makes a place for a new file.
func (s *Store) Add(size int64) (*Incoming, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(size); err != nil {
		return nil, err
	}
	s.next++
	in := &Incoming{store: s, size: size, folder: filepath.Join(s.dir, "incoming", fmt.Sprint(s.next))}
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
	if len(group) != tree.Length(in.size, number) {
		return fmt.Errorf("%w: %d bytes were announced", ErrSize, in.size)
	}
	if _, err := in.data.Write(group); err != nil {
		return disk(err)
	}
	if tree.ListSize(in.size) > 0 {
		value := tree.Of(number, group)
		in.rooter.Add(value)
		if _, err := in.list.Write(value[:]); err != nil {
			return disk(err)
		}
	} else {
		in.group = append(in.group[:0], group...)
	}
	in.have += int64(len(group))
	return nil
}

// Finish keeps the file, if all of it came. One that is here already stays as it is, one that was partly fetched is
// replaced.
func (in *Incoming) Finish(name string) (Info, error) {
	if in.have != in.size {
		in.Discard()
		return Info{}, fmt.Errorf("%w: %d bytes were announced, %d came", ErrSize, in.size, in.have)
	}
	hash := tree.Whole(in.group)
	if tree.ListSize(in.size) > 0 {
		hash = in.rooter.Root()
	}
	info := Info{Hash: hash, Name: cutName(name), Size: in.size, Have: in.size}
	s := in.store
	for _, f := range []*os.File{in.data, in.list} {
		if err := f.Sync(); err != nil {
			in.Discard()
			return Info{}, disk(err)
		}
	}
	file := &File{store: s, folder: in.folder, info: info, listed: true}
	if err := file.save(); err != nil {
		in.Discard()
		return Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer delete(s.incoming, in)
	defer in.discard()
	if old := s.files[hash]; old != nil {
		if old.Info().Complete() {
			return old.Info(), nil
		}
		old.mu.Lock()
		old.removed = true
		old.mu.Unlock()
		delete(s.files, hash)
		if err := os.RemoveAll(old.folder); err != nil {
			return Info{}, err
		}
	}
	file.folder = s.folder(hash)
	if err := os.Rename(in.folder, file.folder); err != nil {
		return Info{}, disk(err)
	}
	if err := syncFolder(filepath.Dir(file.folder)); err != nil {
		return Info{}, disk(err)
	}
	s.files[hash] = file
	return info, nil
}

// Discard gives up.
func (in *Incoming) Discard() {
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

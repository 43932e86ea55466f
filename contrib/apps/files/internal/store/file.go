package store

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// File is one file of the store: complete, or a prefix that grows while it is fetched. One goroutine appends to it at
// a time; any number read.
type File struct {
	store  *Store
	folder string

	mu      sync.Mutex
	info    Info
	synced  int64 // what meta on disk says
	listed  bool  // the list is here and was checked
	removed bool
}

// Info is the file as it is now.
func (f *File) Info() Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info
}

// Removed reports whether it is no longer in the store: nothing can be appended to it.
func (f *File) Removed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removed
}

func (f *File) isListed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed
}

// hasList reports whether there is a checked list, which the smallest files never have.
func (f *File) hasList() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed && tree.ListSize(f.info.Size) > 0
}

// NeedsList reports whether the list must come before the first group.
func (f *File) NeedsList() bool { return !f.isListed() }

// save writes meta; f.mu is held, or nobody else knows the file yet.
func (f *File) save() error {
	if f.removed {
		return ErrUnknown
	}
	text, err := json.Marshal(f.info.meta())
	if err == nil {
		err = replaceFile(filepath.Join(f.folder, "meta"), func(out io.Writer) error {
			_, err := out.Write(text)
			return err
		})
	}
	if err == nil {
		f.synced = f.info.Have
	}
	return err
}

// SetList takes the list from r and keeps it if it belongs to the hash; tree.ErrMismatch otherwise.
func (f *File) SetList(r io.Reader) error {
	info := f.Info()
	err := replaceFile(filepath.Join(f.folder, "list"), func(out io.Writer) error {
		return tree.CheckList(out, r, info.Size, info.Hash)
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed {
		return ErrUnknown
	}
	f.listed = true
	return nil
}

// Writer appends groups to a file.
type Writer struct {
	file *File
	data *os.File
	list *os.File // nil for a file of one group
	next int64    // where it appends
}

// Append starts appending where the file ends.
func (f *File) Append() (*Writer, error) {
	data, err := os.OpenFile(filepath.Join(f.folder, "data"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, disk(err)
	}
	list, err := f.openList()
	if err != nil {
		_ = data.Close()
		return nil, err
	}
	return &Writer{f, data, list, f.Info().Have}, nil
}

func (f *File) openList() (*os.File, error) {
	if tree.ListSize(f.Info().Size) == 0 {
		return nil, nil
	}
	return os.Open(filepath.Join(f.folder, "list"))
}

// Write checks the next group, which must be whole, and appends it; tree.ErrMismatch when it is not the group that
// belongs there: nothing is written then.
func (w *Writer) Write(group []byte) error {
	info := w.file.Info()
	if info.Have != w.next {
		return ErrDamaged // a reader found damage and cut the file back
	}
	if err := check(w.list, info, w.next/tree.Group, group); err != nil {
		return err
	}
	if _, err := w.data.WriteAt(group, w.next); err != nil {
		return disk(err)
	}
	w.file.mu.Lock()
	if w.file.info.Have != w.next {
		w.file.mu.Unlock()
		return ErrDamaged
	}
	w.next += int64(len(group))
	w.file.info.Have = w.next
	due := w.file.info.Have-w.file.synced >= syncEvery || w.file.info.Complete()
	w.file.mu.Unlock()
	if due {
		return w.Sync()
	}
	return nil
}

// Sync makes what was appended survive a crash: the data first, then the meta that speaks of it.
func (w *Writer) Sync() error {
	if err := w.data.Sync(); err != nil {
		return disk(err)
	}
	w.file.mu.Lock()
	defer w.file.mu.Unlock()
	if w.file.info.Fetched {
		w.file.info.Expires = w.file.store.lifetime(w.file.info)
	}
	return w.file.save()
}

// Close syncs what was not, and closes.
func (w *Writer) Close() (err error) {
	w.file.mu.Lock()
	due := w.file.synced != w.file.info.Have
	w.file.mu.Unlock()
	if due {
		err = w.Sync()
	}
	if w.list != nil {
		_ = w.list.Close()
	}
	if closed := w.data.Close(); err == nil {
		err = disk(closed)
	}
	return err
}

// check compares a group with its value in the list, or, for a file of one group, with the hash.
func check(list *os.File, info Info, number int64, group []byte) error {
	if len(group) != tree.Length(info.Size, number) {
		return tree.ErrMismatch
	}
	if list == nil {
		if tree.Whole(group) != info.Hash {
			return tree.ErrMismatch
		}
		return nil
	}
	var want [tree.Value]byte
	if _, err := list.ReadAt(want[:], number*tree.Value); err != nil {
		return fmt.Errorf("%w: its list cannot be read: %v", ErrDamaged, err)
	}
	if tree.Of(number, group) != want {
		return tree.ErrMismatch
	}
	return nil
}

// Reader reads checked groups.
type Reader struct {
	file *File
	data *os.File
	list *os.File
	buf  []byte
}

// Open opens the content for reading, as it lies on the disk.
func (f *File) Open() (*os.File, error) { return os.Open(filepath.Join(f.folder, "data")) }

// Read opens the file for reading.
func (f *File) Read() (*Reader, error) {
	data, err := f.Open()
	if err != nil {
		return nil, err
	}
	list, err := f.openList()
	if err != nil {
		_ = data.Close()
		return nil, err
	}
	return &Reader{f, data, list, make([]byte, tree.Group)}, nil
}

// Group is one group, which must be among those the file has, checked as it is read. The bytes are good until the next
// call. ErrDamaged means that the disk did not keep them: the file has gone back to the groups before.
func (r *Reader) Group(number int64) ([]byte, error) {
	info := r.file.Info()
	group := r.buf[:tree.Length(info.Size, number)]
	_, err := r.data.ReadAt(group, number*tree.Group)
	if err == nil {
		err = check(r.list, info, number, group)
	}
	if err != nil {
		r.file.cutTo(number)
		return nil, fmt.Errorf("%w at byte %d", ErrDamaged, number*tree.Group)
	}
	return group, nil
}

// Close closes.
func (r *Reader) Close() {
	_ = r.data.Close()
	if r.list != nil {
		_ = r.list.Close()
	}
}

// cutTo forgets a group and those behind it.
func (f *File) cutTo(number int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.info.Have > number*tree.Group {
		f.info.Have = number * tree.Group
		_ = f.save() // if that fails, the next reader finds the damage again
	}
}

// OpenList opens the list for sending: ListSize bytes.
func (f *File) OpenList() (io.ReadCloser, error) {
	list, err := f.openList()
	if err != nil || list != nil {
		return list, err
	}
	return io.NopCloser(nothing{}), nil
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

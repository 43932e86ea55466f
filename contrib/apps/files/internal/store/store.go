// Package store keeps files by their content hash in the plugin's data folder, whole ones and partly fetched ones.
//
//	files/<hash>/meta   JSON: name, size, how much is there (a prefix, whole groups or everything), until when
//	files/<hash>/list   the chaining values of the groups, checked against the hash before it gets this name
//	files/<hash>/data   the content
//	incoming/<number>/  a file whose hash is not known yet; swept at start
//
// What survives a crash: meta is replaced by rename, after the data it speaks of was synced, so that it never says
// more than there is. It is trusted to say how much is there; the bytes themselves are checked against the list every
// time they are read, and a damaged file goes back to the part before the damage. Names given by people are kept in
// meta only, and never become paths.
//
// Files that were added stay until they are removed, or until the time given. What was fetched is a copy for the next
// request, with a lifetime of its own (expiry.go).
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// What the store holds at most.
const (
	MaxFiles = 4096
	MaxBytes = 64 << 30 // where the supervisor names no limit
	MaxName  = 1024     // bytes of a name
	// syncEvery is how much may have to be fetched again after a crash.
	syncEvery = 16 << 20
)

// Failures that callers tell apart.
var (
	ErrUnknown = errors.New("no such file here")
	ErrFull    = errors.New("the store is full")
	ErrDisk    = errors.New("disk full")
	ErrDamaged = errors.New("the stored copy is damaged")
	ErrSize    = errors.New("the size does not belong to this file")
)

// Info describes one file.
type Info struct {
	Hash tree.Hash
	Name string
	Size int64
	Have int64 // bytes from the start that are here
	// Stopped means that peers do not get it.
	Stopped bool
	// Fetched means that it came from a peer, and nobody added it.
	Fetched bool
	// Expires is when it is removed; zero: never.
	Expires time.Time
}

// Complete reports whether everything is here.
func (i Info) Complete() bool { return i.Have == i.Size }

// Offered reports whether peers get it.
func (i Info) Offered() bool { return i.Complete() && !i.Stopped }

type meta struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Have    int64  `json:"have"`
	Stopped bool   `json:"stopped,omitempty"`
	Fetched bool   `json:"fetched,omitempty"`
	Expires int64  `json:"expires,omitempty"` // Unix time, seconds; 0: never
}

func (i Info) meta() meta {
	m := meta{Version: 1, Name: i.Name, Size: i.Size, Have: i.Have, Stopped: i.Stopped, Fetched: i.Fetched}
	if !i.Expires.IsZero() {
		m.Expires = i.Expires.Unix()
	}
	return m
}

func (m meta) info(hash tree.Hash) Info {
	i := Info{Hash: hash, Name: m.Name, Size: m.Size, Have: m.Have, Stopped: m.Stopped, Fetched: m.Fetched}
	if m.Expires != 0 {
		i.Expires = time.Unix(m.Expires, 0)
	}
	return i
}

// Store is the folder. It is safe for use by several goroutines.
type Store struct {
	dir string

	mu        sync.Mutex
	files     map[tree.Hash]*File
	incoming  map[*Incoming]struct{}
	next      int
	most      int64
	mostFiles int              // MaxFiles, fewer in tests
	now       func() time.Time // time.Now, another clock in tests
}

// Open reads the store in a folder, which it makes when it is not there, and which holds at most so many bytes. Folders
// whose meta cannot be read are set aside by name, and named in `problems`.
func Open(dir string, most int64) (s *Store, problems []string, err error) {
	s = &Store{
		dir: dir, files: map[tree.Hash]*File{}, incoming: map[*Incoming]struct{}{},
		most: most, mostFiles: MaxFiles, now: time.Now,
	}
	if err := os.RemoveAll(filepath.Join(dir, "incoming")); err != nil {
		return nil, nil, fmt.Errorf("the store cannot be cleaned: %w", err)
	}
	for _, folder := range []string{"files", "incoming"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, nil, fmt.Errorf("the store cannot be made: %w", err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil {
		return nil, nil, fmt.Errorf("the store cannot be read: %w", err)
	}
	for _, entry := range entries {
		hash, err := tree.ParseHash(entry.Name())
		if err != nil {
			continue // set aside before
		}
		f, err := s.load(hash)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s was set aside: %v", hash, err))
			from := filepath.Join(dir, "files", entry.Name())
			_ = os.Rename(from, from+".damaged")
			continue
		}
		s.files[hash] = f
	}
	return s, problems, nil
}

func (s *Store) folder(hash tree.Hash) string { return filepath.Join(s.dir, "files", hash.String()) }

func (s *Store) load(hash tree.Hash) (*File, error) {
	folder := s.folder(hash)
	text, err := os.ReadFile(filepath.Join(folder, "meta"))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Version != 1 || m.Size < 0 || m.Have < 0 || m.Have > m.Size || m.Have%tree.Group != 0 && m.Have != m.Size {
		return nil, fmt.Errorf("%s makes no sense", text)
	}
	f := &File{store: s, folder: folder, info: m.info(hash), synced: m.Have}
	// A list or data shorter than meta says cannot come from a crash; what is there is as good as its checks.
	list, data := length(filepath.Join(folder, "list")), length(filepath.Join(folder, "data"))
	switch {
	case m.Have > 0 && list != tree.ListSize(m.Size):
		return nil, fmt.Errorf("the list has %d bytes", list)
	case data < m.Have:
		f.info.Have = data - data%tree.Group
	}
	f.listed = list == tree.ListSize(m.Size)
	return f, nil
}

func length(path string) int64 {
	if info, err := os.Stat(path); err == nil {
		return info.Size()
	}
	return 0
}

// Get finds a file.
func (s *Store) Get(hash tree.Hash) (*File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[hash]; f != nil {
		return f, nil
	}
	return nil, ErrUnknown
}

// List is all files, by hash.
func (s *Store) List() []Info {
	s.mu.Lock()
	files := make([]*File, 0, len(s.files))
	for _, f := range s.files {
		files = append(files, f)
	}
	s.mu.Unlock()
	out := make([]Info, 0, len(files))
	for _, f := range files {
		out = append(out, f.Info())
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Hash.String() < out[j].Hash.String() })
	return out
}

// Remove deletes a file. Those who read it go on reading.
func (s *Store) Remove(hash tree.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[hash]
	if f == nil {
		return ErrUnknown
	}
	return s.remove(f)
}

// remove deletes a file; s.mu is held.
func (s *Store) remove(f *File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(s.files, f.info.Hash)
	f.removed = true
	return os.RemoveAll(f.folder)
}

// Drop removes a part of which nothing has come.
func (s *Store) Drop(f *File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := f.Info()
	if s.files[info.Hash] != f || !info.Fetched || info.Have > 0 || info.Complete() {
		return nil
	}
	return s.remove(f)
}

// Stop keeps a file, and no longer gives it to peers.
func (s *Store) Stop(hash tree.Hash) error {
	f, err := s.Get(hash)
	if err != nil {
		return err
	}
	return f.change(func(info *Info) { info.Stopped = true })
}

// reserved is what everything here will take when it is complete; s.mu is held.
func (s *Store) reserved() (total int64) {
	for _, f := range s.files {
		total += onDisk(f.Info().Size)
	}
	for in := range s.incoming {
		total += onDisk(in.reserved)
	}
	return total
}

// onDisk is what a file of so many bytes takes, with its list.
func onDisk(size int64) int64 { return size + tree.ListSize(size) }

// room makes sure that `more` bytes, of a new file or not, may come in. Copies of what was fetched make way. s.mu is
// held.
func (s *Store) room(more int64, newFile bool) error {
	if more < 0 || more > s.most {
		return fmt.Errorf("%w: a file may have at most %d bytes, the limit of this app", ErrFull, s.most)
	}
	for {
		used, count := s.reserved(), len(s.files)+len(s.incoming)
		switch {
		case newFile && count >= s.mostFiles:
			if s.evict() {
				continue
			}
			return fmt.Errorf("%w: it holds %d files, the most it can", ErrFull, s.mostFiles)
		case used+onDisk(more) > s.most:
			if s.evict() {
				continue
			}
			return fmt.Errorf("%w: %d of the %d bytes that this app may use are taken", ErrFull, used, s.most)
		}
		return nil
	}
}

// Expect finds a file, or makes a place for one that is to be fetched.
func (s *Store) Expect(hash tree.Hash, size int64, name string) (*File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[hash]; f != nil {
		if f.Info().Size == size {
			return f, f.Renew()
		}
		return s.resize(f, size)
	}
	if size < 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrSize, size)
	}
	if err := s.room(size, true); err != nil {
		return nil, err
	}
	info := Info{Hash: hash, Name: cutName(name), Size: size, Fetched: true}
	info.Expires = s.lifetime(info)
	f := &File{store: s, folder: s.folder(hash), info: info}
	f.listed = tree.ListSize(size) == 0
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return nil, disk(err)
	}
	if err := f.save(); err != nil {
		_ = os.RemoveAll(f.folder)
		return nil, err
	}
	s.files[hash] = f
	return f, nil
}

// resize replaces a part whose size was only claimed, and is claimed differently now; s.mu is held. A checked list
// proves the number of groups, but the length of the last one only the last group proves.
func (s *Store) resize(f *File, size int64) (*File, error) {
	info := f.Info()
	if info.Complete() || f.hasList() && tree.Groups(info.Size) != tree.Groups(size) {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrSize, info.Size)
	}
	delete(s.files, info.Hash)
	if err := s.room(size, true); err != nil {
		s.files[info.Hash] = f
		return nil, err
	}
	f.mu.Lock()
	f.removed = true // who still appends to it learns so
	f.mu.Unlock()
	info.Size = size
	next := &File{store: s, folder: f.folder, info: info, listed: f.hasList() || tree.ListSize(size) == 0}
	if err := next.save(); err != nil {
		return nil, err
	}
	s.files[info.Hash] = next
	return next, nil
}

func cutName(name string) string {
	return name[:min(len(name), MaxName)]
}

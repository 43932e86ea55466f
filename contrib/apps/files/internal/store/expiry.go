package store

import (
	"errors"
	"time"
)

// How long what was fetched is kept, counted from the last time that it was asked for or grew. A complete copy only
// saves a second fetch; a part is what an interrupted download goes on from.
const (
	KeepFetched = 24 * time.Hour
	KeepParts   = 7 * 24 * time.Hour
	// SweepEvery is between two looks for what has expired.
	SweepEvery = time.Minute
	// renewEvery spares writes: an expiry is moved when it would move by this much.
	renewEvery = time.Hour
)

// lifetime is when a fetched file expires if nothing happens to it.
func (s *Store) lifetime(info Info) time.Time {
	if info.Complete() {
		return s.now().Add(KeepFetched)
	}
	return s.now().Add(KeepParts)
}

// change changes what is known about a file, on disk as well.
func (f *File) change(how func(*Info)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.info
	how(&f.info)
	if err := f.save(); err != nil {
		f.info = before
		return err
	}
	return nil
}

// Renew gives a fetched file its lifetime anew.
func (f *File) Renew() error {
	info := f.Info()
	expires := f.store.lifetime(info)
	if !info.Fetched || expires.Sub(info.Expires).Abs() < renewEvery {
		return nil
	}
	return f.change(func(info *Info) { info.Expires = expires })
}

// Sweep removes what has expired, and says what it could not remove.
func (s *Store) Sweep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed []error
	for _, f := range s.files {
		if expires := f.Info().Expires; !expires.IsZero() && !s.now().Before(expires) {
			failed = append(failed, s.remove(f))
		}
	}
	return errors.Join(failed...)
}

// evict removes the complete fetched copy that expires first, to make room; false when there is none. s.mu is held.
func (s *Store) evict() bool {
	var first *File
	for _, f := range s.files {
		info := f.Info()
		if info.Fetched && info.Complete() && (first == nil || info.Expires.Before(first.Info().Expires)) {
			first = f
		}
	}
	return first != nil && s.remove(first) == nil
}

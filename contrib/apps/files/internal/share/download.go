package share

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

const (
	// maxDownloads bounds the files being fetched at once.
	maxDownloads = 32
	// maxReasons bounds the failures remembered for the operation `why`.
	maxReasons = 256
	// roundPause is between two rounds through all sources.
	roundPause = time.Second
)

// Downloads fetches files, each once however many want it.
type Downloads struct {
	store  *store.Store
	dialer Dialer
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu      sync.Mutex
	active  map[tree.Hash]*download
	reasons map[tree.Hash]problem
	order   []tree.Hash // of reasons, oldest first
}

// NewDownloads makes a fetcher into a store.
func NewDownloads(s *store.Store, dialer Dialer) *Downloads {
	d := &Downloads{store: s, dialer: dialer, active: map[tree.Hash]*download{}, reasons: map[tree.Hash]problem{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Close stops everything; what was fetched is kept.
func (d *Downloads) Close() {
	d.mu.Lock()
	d.cancel()
	d.mu.Unlock()
	d.all.Wait()
}

// download is one file being fetched. It ends when nobody wants it any more.
type download struct {
	file   *store.File
	cancel context.CancelFunc

	after     <-chan struct{} // an abandoned download of the same file, which may still write
	abandoned bool            // nobody wants it; guarded by Downloads.mu
	done      chan struct{}

	mu      sync.Mutex
	wanted  int
	sources []string
	given   map[string]bool // the sources that have been added
	moved   chan struct{}   // closed at every progress
	ended   bool
	err     error
}

// join wants a file: a running download gets the sources it did not know, otherwise one starts. leave must be called.
func (d *Downloads) join(file *store.File, sources []string) (dl *download, leave func(), err error) {
	hash := file.Info().Hash
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx.Err() != nil {
		return nil, nil, errStopped
	}
	if file.Removed() {
		return nil, nil, errRemoved
	}
	dl = d.active[hash]
	if dl != nil && dl.file == file && !dl.abandoned {
		dl.add(sources)
	} else {
		if dl != nil {
			dl.abandoned = true // of the same hash, and another size
			dl.cancel()
		}
		if dl == nil && len(d.active) >= maxDownloads {
			d.drop(file)
			return nil, nil, errBusy
		}
		ctx, cancel := context.WithCancel(d.ctx)
		next := &download{
			file: file, cancel: cancel, given: map[string]bool{}, moved: make(chan struct{}), done: make(chan struct{}),
		}
		if dl != nil {
			next.after = dl.done
		}
		dl = next
		d.active[hash] = dl
		dl.add(sources)
		d.all.Add(1)
		go d.run(ctx, hash, dl)
	}
	dl.mu.Lock()
	dl.wanted++
	dl.mu.Unlock()
	return dl, func() { d.leave(dl) }, nil
}

// leave gives up; the last one to do so ends the download.
func (d *Downloads) leave(dl *download) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dl.mu.Lock()
	dl.wanted--
	last := dl.wanted == 0
	dl.mu.Unlock()
	if last {
		dl.abandoned = true
		dl.cancel()
	}
}

// Forget ends a download because its file is removed.
func (d *Downloads) Forget(hash tree.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dl := d.active[hash]; dl != nil {
		dl.abandoned = true
		dl.cancel()
	}
}

// drop removes the part of a file that is not fetched any more, if nothing of it has come. d.mu is held, so that nobody
// joins meanwhile.
func (d *Downloads) drop(file *store.File) {
	if err := d.store.Drop(file); err != nil {
		log.Printf("an empty part was left: %v", err)
	}
}

// remember keeps why a file could not be given, for `why`.
func (d *Downloads) remember(hash tree.Hash, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.reasons[hash]; !known {
		d.order = append(d.order, hash)
		if len(d.order) > maxReasons {
			delete(d.reasons, d.order[0])
			d.order = d.order[1:]
		}
	}
	d.reasons[hash] = problemOf(err)
}

// Why is why a file could last not be given.
func (d *Downloads) Why(hash tree.Hash) problem {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reason, known := d.reasons[hash]; known {
		return reason
	}
	return problem{"nothing is known to have failed", codeInternal}
}

func (d *Downloads) run(ctx context.Context, hash tree.Hash, dl *download) {
	defer d.all.Done()
	defer close(dl.done)
	if dl.after != nil {
		<-dl.after // two must never append to one file; it was told to stop
	}
	err := dl.fetch(ctx, d.dialer)
	if ctx.Err() != nil && err != nil {
		err = errStopped
	}
	d.mu.Lock()
	if d.active[hash] == dl {
		delete(d.active, hash)
		d.drop(dl.file)
	}
	d.mu.Unlock()
	dl.cancel()
	dl.mu.Lock()
	dl.ended, dl.err = true, err
	dl.mu.Unlock()
	dl.progress()
}

// fetch asks the sources in order, and goes on with the next when one fails. After a round that brought something it
// tries those that did not lie once more.
func (dl *download) fetch(ctx context.Context, dialer Dialer) error {
	liars, reasons := map[string]bool{}, map[string]error{}
	for {
		before := dl.file.Info().Have
		for next := 0; ; next++ {
			source, ok := dl.source(next)
			if !ok {
				break
			}
			if liars[source] {
				continue
			}
			err := fetchFrom(ctx, dialer, source, dl.file, dl.progress)
			if dl.file.Info().Complete() && err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if local(err) {
				return err
			}
			liars[source] = errors.Is(err, errLied)
			reasons[source] = err
		}
		if dl.file.Info().Have == before {
			return dl.failed(reasons)
		}
		select {
		case <-time.After(roundPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (dl *download) failed(reasons map[string]error) error {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	return noSource(dl.sources, reasons)
}

// noSource names every source and what was wrong with it.
func noSource(sources []string, reasons map[string]error) error {
	if len(sources) == 0 {
		return fmt.Errorf("%w: the link names none", errNoSource)
	}
	var texts []string
	kind := errAway
	for _, source := range sources {
		if err := reasons[source]; err != nil {
			texts = append(texts, shown(source)+": "+plain(err, shown(source)))
			if !isAway(err) {
				kind = errNoSource
			}
		}
	}
	return fmt.Errorf("%w: %s", kind, strings.Join(texts, "; "))
}

// isAway reports whether an error means that a peer could not be reached.
func isAway(err error) bool {
	return errors.Is(err, polypeer.ErrUnreachable) || errors.Is(err, polypeer.ErrUnknownPeer) || errors.Is(err, polypeer.ErrTimedOut)
}

// plain is an error of a dial without the peer's name, which is shown already.
func plain(err error, peer string) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	return strings.ReplaceAll(err.Error(), peer+": ", "")
}

// shown is the part of a ticket that names the node.
func shown(source string) string {
	node, _, _ := strings.Cut(strings.TrimPrefix(source, "polypeer:"), "@")
	return node[:min(len(node), 52)]
}

func (dl *download) add(sources []string) {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	for _, source := range sources {
		if !dl.given[source] && len(dl.sources) < maxSources {
			dl.given[source] = true
			dl.sources = append(dl.sources, source)
		}
	}
}

func (dl *download) source(number int) (string, bool) {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	if number >= len(dl.sources) {
		return "", false
	}
	return dl.sources[number], true
}

// progress wakes those who follow.
func (dl *download) progress() {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	close(dl.moved)
	dl.moved = make(chan struct{})
}

// state is whether it has ended and how, and a channel closed at the next progress.
func (dl *download) state() (ended bool, err error, moved <-chan struct{}) {
	dl.mu.Lock()
	defer dl.mu.Unlock()
	return dl.ended, dl.err, dl.moved
}

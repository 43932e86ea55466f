package share

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// lookEvery is how often one who waits looks whether the operator's command is still there.
const lookEvery = 500 * time.Millisecond

// get gives a file to the operator while it arrives.
func (c *Control) get(conn Conn, in *bufio.Reader, hash tree.Hash, request controlRequest) error {
	if request.Offset < 0 {
		return fmt.Errorf("%w: an offset below 0", errBadRequest)
	}
	if len(request.From) > maxSources {
		request.From = request.From[:maxSources]
	}
	gone := watch(in)
	sizes := c.sizes(hash, request)
	size, ok, err := sizes()
	for ; ok; size, ok, _ = sizes() {
		if err = c.deliver(conn, gone, hash, size, request); err == nil || errors.As(err, &begun{}) {
			break
		}
	}
	if err != nil {
		c.downloads.remember(hash, err)
	}
	return err
}

// sizes gives the sizes to try: the one the link names, or the one known here, or else what each source says, one
// after the other. A wrong one is found out as soon as something is checked. The error is why there is none.
func (c *Control) sizes(hash tree.Hash, request controlRequest) (next func() (int64, bool, error)) {
	known, sources := request.Size, request.From
	if file, err := c.store.Get(hash); known == nil && err == nil {
		size := file.Info().Size
		known = &size
	}
	if known != nil {
		sources = nil
	}
	tried, reasons := map[int64]bool{}, map[string]error{}
	return func() (int64, bool, error) {
		if size := known; size != nil {
			known = nil
			return *size, true, nil
		}
		for len(sources) > 0 {
			source := sources[0]
			sources = sources[1:]
			size, err := c.downloads.askSize(source, hash)
			if err == nil && !tried[size] {
				tried[size] = true
				return size, true, nil
			}
			reasons[source] = err
		}
		return 0, false, noSource(request.From, reasons)
	}
}

func (c *Control) deliver(conn Conn, gone <-chan struct{}, hash tree.Hash, size int64, request controlRequest) error {
	if size < 0 || request.Offset > size {
		return fmt.Errorf("%w: an offset of %d in a file of %d bytes", errBadRequest, request.Offset, size)
	}
	if size == 0 && hash != tree.Whole(nil) {
		return fmt.Errorf("%w: only one hash belongs to no bytes", store.ErrSize)
	}
	file, dl, leave, err := c.expect(hash, size, request)
	if err != nil {
		return err
	}
	defer leave()
	f := follower{conn: conn, file: file, download: dl, gone: gone}
	if dl != nil {
		if err := f.started(); err != nil {
			return err
		}
	}
	if err := writeLine(conn, map[string]int64{"size": size, "have": file.Info().Have}); err != nil {
		return begun{err}
	}
	if err := f.copy(request.Offset); err != nil {
		return begun{err}
	}
	return nil
}

// expect finds a file, or joins its download: nil when it is complete. leave must be called.
func (c *Control) expect(hash tree.Hash, size int64, request controlRequest) (file *store.File, dl *download, leave func(), err error) {
	for {
		if file, err = c.store.Expect(hash, size, request.Name); err != nil {
			return nil, nil, nil, err
		}
		if file.Info().Complete() {
			return file, nil, func() {}, nil
		}
		// A download that just failed may have removed the file, of which nothing had come.
		if dl, leave, err = c.downloads.join(file, request.From); !errors.Is(err, errRemoved) {
			return file, dl, leave, err
		}
	}
}

// watch reads on, to notice when the other end is cut off; what it sends is of no interest.
func watch(in io.Reader) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		if _, err := io.Copy(io.Discard, in); err != nil {
			close(gone)
		}
	}()
	return gone
}

// follower gives one operator's command what a file has, and waits for the rest.
type follower struct {
	conn     Conn
	file     *store.File
	download *download // nil when the file is complete
	gone     <-chan struct{}
}

// wait waits for progress of the download.
func (f *follower) wait(moved <-chan struct{}) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-moved:
			return nil
		case <-f.gone:
			return polypeer.ErrConnectionLost
		case <-ticker.C:
			if _, err := f.conn.Write(nil); err != nil { // an empty write looks whether anybody still reads
				return err
			}
		}
	}
}

// started waits until there is something to give, or the download has failed.
func (f *follower) started() error {
	first := f.file.Info().Have
	for {
		ended, err, moved := f.download.state()
		if ended || f.file.Info().Have > first {
			if err != nil && !f.file.Info().Complete() {
				return err
			}
			return nil
		}
		if err := f.wait(moved); err != nil {
			return err
		}
	}
}

// copy writes the file from an offset on, each group checked as it is read.
func (f *follower) copy(offset int64) error {
	var reader *store.Reader
	defer func() {
		if reader != nil {
			reader.Close()
		}
	}()
	for size := f.file.Info().Size; offset < size; {
		var ended bool
		var failed error
		var moved <-chan struct{}
		if f.download != nil {
			ended, failed, moved = f.download.state()
		}
		if have := f.file.Info().Have; have <= offset {
			switch {
			case f.download == nil:
				return store.ErrDamaged
			case ended && failed != nil:
				return failed
			case ended:
				return store.ErrDamaged
			}
			if err := f.wait(moved); err != nil {
				return err
			}
			continue
		}
		if reader == nil {
			var err error
			if reader, err = f.file.Read(); err != nil {
				return err
			}
		}
		number := offset / tree.Group
		group, err := reader.Group(number)
		if err != nil {
			return err
		}
		_ = f.conn.SetWriteDeadline(time.Now().Add(stallTime))
		n, err := f.conn.Write(group[offset-number*tree.Group:])
		offset += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

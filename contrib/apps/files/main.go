// Files is the bundled app behind `polypeer send` and `polypeer get`: it shares files by their content hash.
// PROTOCOL.md says what it speaks.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"polypeer"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/handover"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/share"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, which is the orderly stop, or the node has no session any more.
func run(ctx context.Context) error {
	dir := os.Getenv("POLYPEER_DATA")
	if dir == "" {
		return errors.New("POLYPEER_DATA is not set: the supervisor names the data folder there")
	}
	most, err := diskLimit()
	if err != nil {
		return err
	}
	files, problems, err := store.Open(filepath.Join(dir, "store"), most)
	if err != nil {
		return err
	}
	for _, problem := range problems {
		fmt.Fprintln(os.Stderr, "files:", problem)
	}
	node, err := polypeer.Connect(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	peers, err := node.Listen(ctx, share.PeerProtocol)
	if err != nil {
		return err
	}
	operator, err := node.ListenLocal(ctx, share.ControlProtocol)
	if err != nil {
		return err
	}
	downloads := share.NewDownloads(files, share.Over(node))
	defer downloads.Close()
	go sweep(ctx, files)
	desk, err := handover.Listen(dir)
	if err != nil {
		desk = nil
		fmt.Fprintln(os.Stderr, "files: files are copied, not shared with their originals:", err)
	} else {
		defer desk.Close()
	}

	ended := make(chan error, 2)
	go func() { ended <- share.NewServer(files).Serve(peers) }()
	go func() { ended <- share.NewControl(files, downloads, desk).Serve(operator) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		if errors.Is(err, net.ErrClosed) { // Polypeer stops this app
			return nil
		}
		return err
	}
}

// diskLimit is how many bytes the operator lets this app have on disk.
func diskLimit() (int64, error) {
	text := os.Getenv("POLYPEER_DISK_LIMIT")
	if text == "" {
		return store.MaxBytes, nil
	}
	most, err := strconv.ParseInt(text, 10, 64)
	if err != nil || most < 0 {
		return 0, fmt.Errorf("POLYPEER_DISK_LIMIT is %q: expected a number of bytes", text)
	}
	return most, nil
}

// sweep removes files that have expired, until ctx ends.
func sweep(ctx context.Context, files *store.Store) {
	ticker := time.NewTicker(store.SweepEvery)
	defer ticker.Stop()
	for {
		if err := files.Sweep(); err != nil {
			fmt.Fprintln(os.Stderr, "files: what expired cannot be removed:", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Files is the bundled app behind `polypeer send` and `polypeer get`: it shares files by their content hash. PROTOCOL.md
// says what it speaks.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"polypeer"

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
	files, problems, err := store.Open(filepath.Join(dir, "store"))
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

	ended := make(chan error, 2)
	go func() { ended <- share.NewServer(files).Serve(peers) }()
	go func() { ended <- share.NewControl(files, downloads).Serve(operator) }()
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

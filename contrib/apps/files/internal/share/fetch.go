package share

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// errLied says that a source gave something else than what the hash stands for.
var errLied = errors.New("it sent content that does not match the hash; it is not asked again")

// fetchFrom appends to a file what one source has, until it is complete. `moved` is called after every group.
func fetchFrom(ctx context.Context, dialer Dialer, source string, file *store.File, moved func()) error {
	conn, err := dialer.Dial(ctx, source, PeerProtocol)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	info := file.Info()
	request := peerRequest{Op: "get", Hash: info.Hash.String(), Group: info.Have / tree.Group, List: file.NeedsList()}
	_ = conn.SetDeadline(time.Now().Add(stallTime))
	if err := writeLine(conn, request); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 32<<10)
	var answer peerAnswer
	if err := readLine(in, maxAnswer, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return fmt.Errorf("it answered: %.200q", answer.Error)
	}
	if answer.Size != info.Size {
		return fmt.Errorf("%w (it says the file has %d bytes)", errLied, answer.Size)
	}
	return receive(groupReader{conn, in}, file, request, moved)
}

// receive takes the list and the groups. Nothing is kept before it was checked.
func receive(in groupReader, file *store.File, request peerRequest, moved func()) (err error) {
	if request.List {
		if err := file.SetList(in); err != nil {
			return lied(err)
		}
		moved()
	}
	writer, err := file.Append()
	if err != nil {
		return err
	}
	defer func() {
		if closed := writer.Close(); err == nil {
			err = closed
		}
	}()
	info := file.Info()
	buf := make([]byte, tree.Group)
	for number := request.Group; number < tree.Groups(info.Size); number++ {
		group, err := in.next(buf, info.Size, number)
		if err != nil {
			return err
		}
		if err := writer.Write(group); err != nil {
			return lied(err)
		}
		moved()
	}
	return nil
}

func lied(err error) error {
	if errors.Is(err, tree.ErrMismatch) {
		return errLied
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// local reports whether an error is this node's, so that another source would not help.
func local(err error) bool {
	return errors.Is(err, store.ErrDisk) || errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrDamaged)
}

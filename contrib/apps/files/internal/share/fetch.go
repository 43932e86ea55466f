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
	info := file.Info()
	request := peerRequest{Op: "get", Hash: info.Hash.String(), Group: info.Have / tree.Group, List: file.NeedsList()}
	conn, in, answer, err := ask(ctx, dialer, source, request)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if answer.Size != info.Size {
		return fmt.Errorf("%w (it says the file has %d bytes)", errLied, answer.Size)
	}
	return receive(groupReader{conn, in}, file, request, moved)
}

// ask opens a stream, asks one question and reads the line that answers it.
func ask(ctx context.Context, dialer Dialer, source string, request peerRequest) (Conn, *bufio.Reader, peerAnswer, error) {
	var answer peerAnswer
	conn, err := dialer.Dial(ctx, source, PeerProtocol)
	if err != nil {
		return nil, nil, answer, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(stallTime))
	in := bufio.NewReaderSize(conn, 32<<10)
	if err = writeLine(conn, request); err == nil {
		err = readLine(in, maxAnswer, &answer)
	}
	if err == nil && answer.Error != "" {
		err = fmt.Errorf("it answered: %.200q", answer.Error)
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, answer, err
	}
	return conn, in, answer, nil
}

// askSize is the size of a file as one source tells it.
func (d *Downloads) askSize(source string, hash tree.Hash) (int64, error) {
	ctx, cancel := context.WithTimeout(d.ctx, stallTime)
	defer cancel()
	conn, _, answer, err := ask(ctx, d.dialer, source, peerRequest{Op: "get", Hash: hash.String(), List: true})
	if err != nil {
		return 0, err
	}
	_ = conn.Reset(codeBusy) // the content is not wanted yet
	return answer.Size, nil
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
	return errors.Is(err, store.ErrDisk) || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrDamaged)
}

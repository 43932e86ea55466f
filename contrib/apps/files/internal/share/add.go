package share

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// tellEvery is between two lines of progress of an `add`.
const tellEvery = 100 * time.Millisecond

// maxExpires is the longest time until a file expires, seconds: ten years. More is refused.
const maxExpires = 10 * 366 * 24 * 3600

// add takes a file from the operator. Without a size the end of the stream ends it.
func (c *Control) add(conn Conn, in *bufio.Reader, request controlRequest) error {
	size := int64(store.UnknownSize)
	if request.Size != nil {
		if size = *request.Size; size < 0 {
			return fmt.Errorf("%w: a size below 0", errBadRequest)
		}
	}
	var expires time.Time
	if request.Expires != 0 {
		if request.Expires < 0 || request.Expires > maxExpires {
			return fmt.Errorf("%w: %d seconds, of at most %d, until it expires", errBadRequest, request.Expires, int64(maxExpires))
		}
		expires = time.Now().Add(time.Duration(request.Expires) * time.Second)
	}
	incoming, err := c.store.Add(size)
	if err != nil {
		return err
	}
	if request.Handover && c.desk != nil {
		token, cancel := c.desk.Expect(func(given *os.File) (*os.File, bool) {
			if given == nil {
				return nil, false
			}
			defer given.Close()
			return nil, incoming.Clone(given) == nil
		})
		defer cancel()
		if err := writeLine(conn, handedOver{token}); err != nil {
			incoming.Discard()
			return err
		}
	}
	tell := progress(conn)
	if _, none := in.Peek(1); none == io.EOF && incoming.Cloned() {
		err = incoming.ReadCloned(tell)
	} else {
		err = receiveGroups(in, incoming, size, tell)
	}
	if err != nil {
		incoming.Discard()
		return err
	}
	info, err := incoming.Finish(request.Name, expires)
	if err != nil {
		return err
	}
	return writeLine(conn, map[string]any{"hash": info.Hash.String(), "size": info.Size, "name": request.Name})
}

// handedOver is an answer with the token for a visit to the desk.
type handedOver struct {
	Token string `json:"handover"`
}

// lend gives the operator a descriptor of a complete file.
func (c *Control) lend(conn Conn, hash tree.Hash) error {
	file, err := c.store.Get(hash)
	if err != nil {
		return err
	}
	if c.desk == nil || !file.Info().Complete() {
		return store.ErrUnknown
	}
	if err := file.Renew(); err != nil {
		return err
	}
	data, err := file.Open()
	if err != nil {
		return err
	}
	taken := make(chan struct{})
	token, cancel := c.desk.Expect(func(given *os.File) (*os.File, bool) {
		defer close(taken)
		if given != nil {
			_ = given.Close()
		}
		return data, true
	})
	err = writeLine(conn, handedOver{token})
	if err == nil {
		select {
		case <-taken:
		case <-time.After(lineTime):
		}
	}
	if cancel() {
		_ = data.Close()
	}
	return err
}

// progress tells the operator from time to time how much of a file is here.
func progress(conn Conn) (tell func(have int64) error) {
	told := time.Now()
	return func(have int64) error {
		if time.Since(told) < tellEvery {
			return nil
		}
		told = time.Now()
		_ = conn.SetWriteDeadline(told.Add(stallTime))
		return writeLine(conn, map[string]int64{"progress": have})
	}
}

// receiveGroups takes the content of a file up to the end of the stream.
func receiveGroups(in *bufio.Reader, incoming *store.Incoming, size int64, tell func(have int64) error) error {
	have, buf := int64(0), make([]byte, tree.Group)
	for {
		n, err := io.ReadFull(in, buf)
		ended := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !ended {
			return err
		}
		have += int64(n)
		if size >= 0 && (have > size || ended && have < size) {
			return fmt.Errorf("%w: %d bytes were announced, %d came", store.ErrSize, size, have)
		}
		if n > 0 {
			if err := incoming.Write(buf[:n]); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		if err := tell(have); err != nil {
			return err
		}
	}
}

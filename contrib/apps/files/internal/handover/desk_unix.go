//go:build unix

package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// acceptPause is between a failure to accept a connection and the next attempt.
const acceptPause = 100 * time.Millisecond

// Desk is the socket.
type Desk struct {
	expected
	listener *net.UnixListener
}

// Listen makes the socket in a folder that only this user can use, in the place of one that was left there.
func Listen(folder string) (*Desk, error) {
	path := filepath.Join(folder, "handover.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	desk := &Desk{expected: expected{visits: map[string]Visit{}}, listener: listener}
	go desk.serve()
	return desk, nil
}

// Close removes the socket.
func (d *Desk) Close() { _ = d.listener.Close() }

func (d *Desk) serve() {
	places := make(chan struct{}, maxVisits)
	for {
		conn, err := d.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, perhaps: that passes
			time.Sleep(acceptPause)
			continue
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(visitTime))
			_ = d.visit(conn) // the command falls back to the stream
		}()
	}
}

func (d *Desk) visit(conn *net.UnixConn) error {
	token, given, err := receive(conn)
	if err != nil {
		return err
	}
	visit := d.take(token)
	if visit == nil {
		if given != nil {
			_ = given.Close()
		}
		return errors.New("unknown token")
	}
	lent, ok := visit(given)
	if lent != nil {
		defer lent.Close()
	}
	return send(conn, ok, lent)
}

// receive reads the frame with the token, and the descriptor that may be beside it. More than one are refused. All that
// came are closed but the one that is returned.
func receive(conn *net.UnixConn) (token string, given *os.File, err error) {
	const head = 4 + 8
	frame, oob := make([]byte, head+tokenSize), make([]byte, syscall.CmsgSpace(4))
	var came []*os.File
	defer func() {
		for _, file := range came {
			if file != given {
				_ = file.Close()
			}
		}
	}()
	for have := 0; have < len(frame); {
		n, oobn, _, _, err := conn.ReadMsgUnix(frame[have:], oob)
		came = append(came, descriptors(oob[:oobn])...)
		if err == nil && n == 0 {
			err = errors.New("cut")
		}
		if err != nil {
			return "", nil, err
		}
		have += n
	}
	size, length := binary.LittleEndian.Uint32(frame), binary.LittleEndian.Uint64(frame[4:])
	if size != 8+tokenSize || length != tokenSize {
		return "", nil, fmt.Errorf("a token of %d bytes", length)
	}
	switch len(came) {
	case 0:
	case 1:
		given = came[0]
	default:
		return "", nil, fmt.Errorf("%d descriptors", len(came))
	}
	return string(frame[head:]), given, nil
}

// descriptors takes every descriptor out of what came beside some bytes.
func descriptors(oob []byte) (files []*os.File) {
	messages, _ := syscall.ParseSocketControlMessage(oob) // the kernel's, always whole
	for i := range messages {
		rights, _ := syscall.ParseUnixRights(&messages[i]) // none in a message of another kind
		for _, right := range rights {
			syscall.CloseOnExec(right)
			files = append(files, os.NewFile(uintptr(right), "given"))
		}
	}
	return files
}

func send(conn *net.UnixConn, ok bool, lent *os.File) error {
	frame, oob := []byte{1, 0, 0, 0, 0}, []byte(nil)
	if ok {
		frame[4] = 1
	}
	if lent != nil {
		oob = syscall.UnixRights(int(lent.Fd()))
	}
	_, _, err := conn.WriteMsgUnix(frame, oob, nil)
	return err
}

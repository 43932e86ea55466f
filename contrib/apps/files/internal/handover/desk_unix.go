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
		if err != nil {
			return
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

// receive reads the frame with the token, and the descriptor beside its first byte.
func receive(conn *net.UnixConn) (token string, given *os.File, err error) {
	const head = 4 + 8
	frame, oob := make([]byte, head+tokenSize), make([]byte, syscall.CmsgSpace(4))
	for have := 0; have < len(frame); {
		n, oobn, _, _, err := conn.ReadMsgUnix(frame[have:], oob)
		if err == nil && n == 0 {
			err = errors.New("cut")
		}
		if err == nil && oobn > 0 && given == nil {
			given, err = descriptor(oob[:oobn])
		}
		if err != nil {
			if given != nil {
				_ = given.Close()
			}
			return "", nil, err
		}
		have += n
	}
	size, length := binary.LittleEndian.Uint32(frame), binary.LittleEndian.Uint64(frame[4:])
	if size != 8+tokenSize || length != tokenSize {
		if given != nil {
			_ = given.Close()
		}
		return "", nil, fmt.Errorf("a token of %d bytes", length)
	}
	return string(frame[head:]), given, nil
}

func descriptor(oob []byte) (*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("no descriptor: %w", err)
	}
	rights, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(rights) != 1 {
		return nil, fmt.Errorf("no descriptor: %w", err)
	}
	syscall.CloseOnExec(rights[0])
	return os.NewFile(uintptr(rights[0]), "given"), nil
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

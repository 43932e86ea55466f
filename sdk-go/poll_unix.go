//go:build unix

package polypeer

import (
	"io"
	"net"
	"syscall"
)

// tryRead reads without waiting, regardless of the deadline: zero bytes and no error when nothing has arrived.
func tryRead(conn net.Conn, p []byte) (n int, err error) {
	source, ok := conn.(syscall.Conn)
	if !ok || len(p) == 0 {
		return 0, nil
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), p) })
	switch {
	case failed != nil:
		return 0, failed
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// tryWrite writes without waiting, regardless of the deadline, and returns how much was written.
func tryWrite(conn net.Conn, p []byte) (n int, err error) {
	source, ok := conn.(syscall.Conn)
	if !ok {
		return 0, nil
	}
	raw, err := source.SyscallConn()
	if err != nil {
		return 0, err
	}
	if failed := raw.Control(func(fd uintptr) { n, err = syscall.Write(int(fd), p) }); failed != nil {
		return 0, failed
	}
	if err == syscall.EAGAIN || err == syscall.EINTR {
		err = nil
	}
	return max(n, 0), err
}

//go:build linux && (386 || amd64 || arm || arm64 || riscv64)

package store

import (
	"os"
	"syscall"
)

// ficlone is FICLONE of linux/fs.h on the processors named above: _IOW(0x94, 9, int).
const ficlone = 0x40049409

// clone makes `to` share the blocks of `from`, as it is at this moment; an error where the file system cannot. Neither
// descriptor can be closed meanwhile, and its number become that of another file.
func clone(to, from *os.File) error {
	target, err := to.SyscallConn()
	if err != nil {
		return err
	}
	source, err := from.SyscallConn()
	if err != nil {
		return err
	}
	var code syscall.Errno
	var closed error
	err = target.Control(func(to uintptr) {
		closed = source.Control(func(from uintptr) {
			_, _, code = syscall.Syscall(syscall.SYS_IOCTL, to, ficlone, from)
		})
	})
	switch {
	case err != nil:
		return err
	case closed != nil:
		return closed
	case code != 0:
		return os.NewSyscallError("ioctl", code)
	}
	return nil
}

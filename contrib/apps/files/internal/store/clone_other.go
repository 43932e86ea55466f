//go:build !(linux && (386 || amd64 || arm || arm64 || riscv64))

package store

import (
	"errors"
	"os"
)

// clone fails: what a file system can share is not used on this system.
func clone(_, _ *os.File) error { return errors.ErrUnsupported }

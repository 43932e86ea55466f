//go:build !unix

package polypeer

import (
	"context"
	"errors"
	"net"
)

// dialSocket fails: on Windows the gateway is a named pipe, which the standard library has no net.Conn for.
func dialSocket(context.Context, string) (net.Conn, error) {
	return nil, errors.New("the SDK for Go does not support this system's gateway yet (a named pipe)")
}

//go:build unix

package polypeer

import (
	"context"
	"net"
)

// dialSocket connects to the gateway's Unix socket.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "unix", path)
}

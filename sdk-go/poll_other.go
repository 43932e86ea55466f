//go:build !unix

package polypeer

import "net"

// tryRead does nothing here: a writer without a reader notices a stop only when its write fails.
func tryRead(net.Conn, []byte) (int, error) { return 0, nil }

// tryWrite writes nothing here.
func tryWrite(net.Conn, []byte) (int, error) { return 0, nil }

//go:build !unix

package handover

import "errors"

// Desk is nothing where descriptors cannot be passed.
type Desk struct{ expected }

// Listen fails: files are copied over streams.
func Listen(string) (*Desk, error) { return nil, errors.ErrUnsupported }

// Close satisfies the callers on every system; without handed-over descriptors nothing is open.
func (d *Desk) Close() {}

package polypeer

import (
	"io"
	"net"
	"sync"
)

var spliced sync.Map // claimed connection → closed when its stream ended

// splice carries the frames of a stream until both directions have ended, then closes both connections; a connection
// that ends before is told to the other as `connection lost`.
func splice(a, b net.Conn) {
	defer func() {
		_ = a.Close()
		_ = b.Close()
		if ended, ok := spliced.LoadAndDelete(b); ok {
			close(ended.(chan struct{}))
		}
	}()
	var mu [2]sync.Mutex // for writing to a and to b
	var stopped [2]bool  // what a or b sends is not wanted any more
	conns := [2]net.Conn{a, b}
	over := make(chan int, 4)
	send := func(to int, frame []byte) {
		mu[to].Lock()
		defer mu[to].Unlock()
		_, _ = conns[to].Write(frame)
	}
	for from := range conns {
		go func() {
			to := 1 - from
			ended := false
			end := func() {
				if !ended {
					ended = true
					over <- from
				}
			}
			buf := make([]byte, frameHeader+maxData)
			for {
				if _, err := io.ReadFull(conns[from], buf[:frameHeader]); err != nil {
					break
				}
				kind, value, err := parseHeader(buf)
				if err != nil {
					break
				}
				length := frameHeader
				if kind == kindData {
					if _, err := io.ReadFull(conns[from], buf[frameHeader:frameHeader+int(value)]); err != nil {
						break
					}
					length += int(value)
				}
				mu[to].Lock()
				drop := kind == kindData && stopped[from]
				if kind == kindStop {
					stopped[to] = true
				}
				mu[to].Unlock()
				if !drop {
					send(to, buf[:length])
				}
				if kind == kindFin || kind == kindReset {
					end()
				}
				if kind == kindStop {
					over <- to
				}
			}
			if !ended {
				var cut [2 * frameHeader]byte
				putHeader(cut[:], kindReset, uint32(CodeConnectionLost))
				putHeader(cut[frameHeader:], kindStop, uint32(CodeConnectionLost))
				send(to, cut[:])
			}
			over <- from
			over <- to
		}()
	}
	var done [2]bool
	for !done[0] || !done[1] {
		done[<-over] = true
	}
}

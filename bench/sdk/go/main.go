// The Go SDK at work: `client WORK AMOUNT FLIGHT` prints {"seconds", "cpu"} as JSON. ../src/bin/gateway.rs says what the
// other end does; ../src/bin/client.rs and ../client.py do the same work.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	polypeer "polypeer"
)

// piece is the number of bytes per read and write of a stream.
const piece = 256 << 10

var data = make([]byte, piece)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: client WORK AMOUNT FLIGHT")
	}
	work := os.Args[1]
	amount, err := strconv.Atoi(os.Args[2])
	check(err)
	flight, err := strconv.Atoi(os.Args[3])
	check(err)
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	check(err)
	_, err = node.HandleRequests(ctx, "serve/1", func(_ context.Context, call *polypeer.Call) ([]byte, error) {
		return call.Payload, nil
	})
	check(err)
	check(carryOut(ctx, node, work, amount/20+1, flight)) // what is done once only
	began, used := time.Now(), cpu()
	check(carryOut(ctx, node, work, amount, flight))
	fmt.Printf("{\"seconds\": %g, \"cpu\": %g}\n", time.Since(began).Seconds(), cpu()-used)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// cpu is the processor time that this process has used, in seconds.
func cpu() float64 {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

func carryOut(ctx context.Context, node *polypeer.Node, work string, amount, flight int) error {
	switch work {
	case "send":
		return send(ctx, node, amount)
	case "receive":
		return receive(ctx, node, amount)
	case "serve":
		_, err := node.Request(ctx, node.ID().String(), "ask/1", fmt.Appendf(nil, "%d %d", amount, flight))
		return err
	}
	var workers sync.WaitGroup
	failed := make(chan error, flight)
	for worker := range flight {
		share := amount / flight
		if worker < amount%flight {
			share++
		}
		workers.Add(1)
		go func() {
			defer workers.Done()
			for range share {
				err := error(nil)
				if work == "stream" {
					err = send(ctx, node, 1024)
				} else {
					_, err = node.Request(ctx, node.ID().String(), "echo/1", data[:1024])
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	workers.Wait()
	close(failed)
	return <-failed
}

// send writes one stream, which is answered by a byte.
func send(ctx context.Context, node *polypeer.Node, size int) error {
	conn, err := node.Dial(ctx, node.ID().String(), "sink/1")
	if err != nil {
		return err
	}
	defer conn.Close()
	for ; size > 0; size -= piece {
		if _, err := conn.Write(data[:min(size, piece)]); err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	reply, err := io.ReadAll(conn)
	if err == nil && len(reply) != 1 {
		err = fmt.Errorf("%d bytes came, not 1", len(reply))
	}
	return err
}

// receive reads one stream to its end.
func receive(ctx context.Context, node *polypeer.Node, size int) error {
	size = (size + piece - 1) / piece * piece
	conn, err := node.Dial(ctx, node.ID().String(), "source/1")
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(binary.LittleEndian.AppendUint64(nil, uint64(size))); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	buffer, received := make([]byte, piece), 0
	for {
		n, err := conn.Read(buffer)
		if received += n; err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if received != size {
		return fmt.Errorf("%d bytes came, not %d", received, size)
	}
	return nil
}

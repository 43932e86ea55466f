// The Go SDK at work; ../client.py says what it does, and ../src/bin/client.rs does the same.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
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
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	check(err)
	if len(os.Args) == 2 && os.Args[1] == "attend" {
		check(attend(ctx, node))
	}
	if len(os.Args) != 4 && len(os.Args) != 6 {
		log.Fatal("usage: client attend, or client WORK AMOUNT FLIGHT [PEER TICKET]")
	}
	work := os.Args[1]
	amount, err := strconv.Atoi(os.Args[2])
	check(err)
	flight, err := strconv.Atoi(os.Args[3])
	check(err)
	peer, ticket := node.ID().String(), node.ID().String()
	if len(os.Args) == 6 {
		peer, ticket = os.Args[4], os.Args[5]
	}
	_, err = node.HandleRequests(ctx, "serve/1", echo)
	check(err)
	_, err = node.Request(ctx, ticket, "echo/1", nil)
	check(err)
	check(carryOut(ctx, node, peer, work, amount/20+1, flight)) // what is done once only
	began, used := time.Now(), cpu()
	check(carryOut(ctx, node, peer, work, amount, flight))
	fmt.Printf("{\"seconds\": %g, \"cpu\": %g}\n", time.Since(began).Seconds(), cpu()-used)
}

func echo(_ context.Context, call *polypeer.Call) ([]byte, error) { return call.Payload, nil }

// attend serves the clients of another node until killed.
func attend(ctx context.Context, node *polypeer.Node) error {
	if _, err := node.HandleRequests(ctx, "echo/1", echo); err != nil {
		return err
	}
	for protocol, handle := range map[string]func(net.Conn) error{"sink/1": drain, "source/1": fill} {
		listener, err := node.Listen(ctx, protocol)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := listener.Accept()
				check(err)
				go func() {
					defer conn.Close()
					if err := handle(conn); err != nil {
						log.Print(err)
					}
				}()
			}
		}()
	}
	info, err := node.Info(ctx)
	if err != nil {
		return err
	}
	fmt.Println(node.ID(), info.Ticket)
	<-node.Done()
	return node.Err()
}

// drain reads a stream to its end and answers with a byte.
func drain(conn net.Conn) error {
	buffer := make([]byte, piece)
	for {
		if _, err := conn.Read(buffer); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	_, err := conn.Write([]byte("!"))
	return err
}

// fill writes as much as the stream's first 8 bytes say.
func fill(conn net.Conn) error {
	size := make([]byte, 8)
	if _, err := io.ReadFull(conn, size); err != nil {
		return err
	}
	for range binary.LittleEndian.Uint64(size) / piece {
		if _, err := conn.Write(data); err != nil {
			return err
		}
	}
	return nil
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

func carryOut(ctx context.Context, node *polypeer.Node, peer, work string, amount, flight int) error {
	switch work {
	case "send":
		return send(ctx, node, peer, amount)
	case "receive":
		return receive(ctx, node, peer, amount)
	case "serve":
		_, err := node.Request(ctx, peer, "ask/1", fmt.Appendf(nil, "%d %d", amount, flight))
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
					err = send(ctx, node, peer, 1024)
				} else {
					_, err = node.Request(ctx, peer, "echo/1", data[:1024])
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
func send(ctx context.Context, node *polypeer.Node, peer string, size int) error {
	conn, err := node.Dial(ctx, peer, "sink/1")
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
func receive(ctx context.Context, node *polypeer.Node, peer string, size int) error {
	size = (size + piece - 1) / piece * piece
	conn, err := node.Dial(ctx, peer, "source/1")
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

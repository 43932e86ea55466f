// Command toolbox-go is a plugin that carries out a test's orders. It serves a few protocols from the start and takes
// orders on a Unix socket in its data folder: one connection for each order, with one JSON line each way
// (tests/toolbox.py is the other end).
//
//	gotool/http   net/http: replies to a POST with its body
//	gotool/hold   sends one byte and nothing more, without an end
//	gotool/duplex as tool/duplex of the Python toolbox
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"time"

	"polypeer"
)

type order struct {
	Op       string `json:"op"`
	Peer     string `json:"peer"`
	Protocol string `json:"protocol"`
	Sizes    []int  `json:"sizes"`
	Size     int64  `json:"size"`
	Topic    string `json:"topic"`
	Name     string `json:"name"`
	Key      string `json:"key"`
	Hash     string `json:"hash"`
	Text     string `json:"text"`
	Sequence uint64 `json:"sequence"`
	Validate bool   `json:"validate"`
}

type answer struct {
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

func main() {
	log.SetFlags(0)
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	serve(ctx, node, "gotool/http", func(listener net.Listener) error {
		return http.Serve(listener, http.HandlerFunc(echoBody))
	})
	serve(ctx, node, "gotool/hold", each(hold))
	serve(ctx, node, "gotool/duplex", each(duplex))
	if err := takeOrders(ctx, node); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, node *polypeer.Node, protocol string, run func(net.Listener) error) {
	listener, err := node.Listen(ctx, protocol)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Print(protocol, ": ", run(listener)) }()
}

func each(handle func(net.Conn)) func(net.Listener) error {
	return func(listener net.Listener) error {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return err
			}
			go handle(conn)
		}
	}
}

func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Remote", r.RemoteAddr)
	w.Write(body)
}

func hold(conn net.Conn) {
	conn.Write([]byte("!"))
	io.Copy(io.Discard, conn)
}

// period is coprime to every buffer size in between, so that misplaced bytes change the digest.
const period = 1<<20 + 7

// pattern repeats period random bytes without end.
type pattern struct {
	data []byte
	at   int
}

func newPattern(seed int64) *pattern {
	data := make([]byte, period)
	rand.New(rand.NewSource(seed)).Read(data)
	return &pattern{data: data}
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.data[p.at:])
	p.at = (p.at + n) % period
	return n, nil
}

// exchange sends size bytes of one pattern while it receives as many of another.
func exchange(conn net.Conn, size int64, send, expect int64) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(conn, newPattern(send), size)
		sent <- err
	}()
	got, want := sha256.New(), sha256.New()
	if _, err := io.CopyN(got, conn, size); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	io.CopyN(want, newPattern(expect), size)
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		return errors.New("the bytes differ")
	}
	return nil
}

func duplex(conn net.Conn) {
	defer conn.Close()
	var size int64
	if err := binary.Read(conn, binary.LittleEndian, &size); err != nil {
		return
	}
	verdict := "ok"
	if err := exchange(conn, size, 2, 1); err != nil {
		verdict = err.Error()
	}
	io.WriteString(conn, verdict)
}

func takeOrders(ctx context.Context, node *polypeer.Node) error {
	if err := os.Chdir(os.Getenv("POLYPEER_DATA")); err != nil {
		return err
	}
	os.Remove("orders.sock")
	orders, err := net.Listen("unix", "orders.sock")
	if err != nil {
		return err
	}
	os.Chmod("orders.sock", 0o666)
	return each(func(conn net.Conn) {
		defer conn.Close()
		var asked order
		if err := json.NewDecoder(conn).Decode(&asked); err != nil {
			return
		}
		result, err := carryOut(ctx, node, asked)
		reply := answer{Result: result}
		if err != nil {
			reply.Error = err.Error()
		}
		json.NewEncoder(conn).Encode(reply)
	})(orders)
}

func carryOut(ctx context.Context, node *polypeer.Node, asked order) (any, error) {
	switch asked.Op {
	case "pid":
		return os.Getpid(), nil
	case "ask_http":
		return askHTTP(node, asked)
	case "transfer":
		return transfer(ctx, node, asked)
	case "wait_cut":
		return waitCut(ctx, node, asked)
	}
	if service := serviceOrders[asked.Op]; service != nil {
		return service(ctx, node, asked)
	}
	return nil, fmt.Errorf("no order is called %q", asked.Op)
}

// askHTTP posts bodies of the given sizes through one http.Client, and returns the number of connections used.
func askHTTP(node *polypeer.Node, asked order) (any, error) {
	dials := 0
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials++
			return node.Dial(ctx, asked.Peer, asked.Protocol)
		},
	}}
	defer client.CloseIdleConnections()
	for _, size := range asked.Sizes {
		sent := sha256.New()
		body := io.TeeReader(io.LimitReader(newPattern(int64(size)), int64(size)), sent)
		response, err := client.Post("http://peer/", "application/octet-stream", body)
		if err != nil {
			return nil, err
		}
		got := sha256.New()
		n, err := io.Copy(got, response.Body)
		response.Body.Close()
		if err != nil {
			return nil, err
		}
		if n != int64(size) || string(got.Sum(nil)) != string(sent.Sum(nil)) {
			return nil, fmt.Errorf("a body of %d bytes was returned as %d different ones", size, n)
		}
	}
	return map[string]int{"requests": len(asked.Sizes), "connections": dials}, nil
}

func transfer(ctx context.Context, node *polypeer.Node, asked order) (any, error) {
	started := time.Now()
	conn, err := node.Dial(ctx, asked.Peer, asked.Protocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := binary.Write(conn, binary.LittleEndian, asked.Size); err != nil {
		return nil, err
	}
	if err := exchange(conn, asked.Size, 1, 2); err != nil {
		return nil, err
	}
	verdict, err := io.ReadAll(conn)
	if err != nil {
		return nil, err
	}
	return map[string]any{"sent": string(verdict) == "ok", "received": true, "seconds": time.Since(started).Seconds()}, nil
}

func waitCut(ctx context.Context, node *polypeer.Node, asked order) (any, error) {
	conn, err := node.Dial(ctx, asked.Peer, asked.Protocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var one [1]byte
	if _, err := io.ReadFull(conn, one[:]); err != nil {
		return nil, err
	}
	if err := os.WriteFile("held", []byte("yes"), 0o644); err != nil {
		return nil, err
	}
	n, err := conn.Read(one[:])
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Sprintf("end of data: %d bytes", n), nil
	}
	if !errors.Is(err, polypeer.ErrConnectionLost) {
		return fmt.Sprintf("another error: %v", err), nil
	}
	return fmt.Sprintf("ConnectionLost: %v", err), nil
}

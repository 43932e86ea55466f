//go:build unix

// Package netcoretest runs a real polypeer-netcore for tests, in the place of the supervisor: it keeps the plugins'
// listening sockets and speaks the admin session (ipc-protocol/src/admin.rs), of which it writes the few messages it
// needs by hand. Only loopback is used.
package netcoretest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"polypeer"
)

// Limit is how long anything may take before a test gives up.
const Limit = 60 * time.Second

// Netcore is one node: its process can be killed and started again, its plugins' sockets stay.
type Netcore struct {
	t       testing.TB
	binary  string
	home    string
	plugins []*Plugin

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
	admin   *net.UnixConn
	next    uint64
	waiting map[uint64]chan []byte
}

// Plugin is one launch of a plugin.
type Plugin struct {
	netcore *Netcore
	launch  uint64
	name    string
	path    string
	token   [32]byte
	socket  *os.File
}

// Start starts a netcore with plugins of these names, each allowed everything. It skips the test when POLYPEER_BIN does
// not say where the binaries are.
func Start(t testing.TB, plugins ...string) *Netcore {
	t.Helper()
	folder := os.Getenv("POLYPEER_BIN")
	if folder == "" {
		t.Skip("POLYPEER_BIN is not set to the folder of polypeer-netcore")
	}
	n := &Netcore{t: t, binary: filepath.Join(folder, "polypeer-netcore"), home: t.TempDir()}
	if _, err := os.Stat(n.binary); err != nil {
		t.Fatal("POLYPEER_BIN has no network core: ", err)
	}
	for i, name := range plugins {
		n.plugins = append(n.plugins, n.plugin(uint64(i+1), name))
	}
	t.Cleanup(n.Kill)
	n.Run()
	return n
}

// shortDir is a folder whose path leaves room for a socket's name: 108 bytes are all a socket's path may have.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "pp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (n *Netcore) plugin(launch uint64, name string) *Plugin {
	p := &Plugin{netcore: n, launch: launch, name: name, path: filepath.Join(shortDir(n.t), "gateway")}
	_, _ = rand.Read(p.token[:])
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.path, Net: "unix"})
	if err != nil {
		n.t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if p.socket, err = listener.File(); err != nil {
		n.t.Fatal(err)
	}
	_ = listener.Close() // the file is the same socket
	n.t.Cleanup(func() { _ = p.socket.Close() })
	return p
}

// Run starts the process, after Kill for instance, tells it the launches, and lets it begin.
func (n *Netcore) Run() {
	n.t.Helper()
	syscall.ForkLock.RLock() // no child of another test may inherit the descriptors
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		n.t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(ends[0]), "admin"), os.NewFile(uintptr(ends[1]), "admin")
	conn, err := net.FileConn(near)
	_ = near.Close()
	if err != nil {
		n.t.Fatal(err)
	}
	process := exec.Command(n.binary, "--home", n.home)
	process.ExtraFiles = []*os.File{far} // becomes descriptor 3
	process.Stderr = &lines{n.t}
	if err := process.Start(); err != nil {
		n.t.Fatal(err)
	}
	_ = far.Close()
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	n.mu.Lock()
	n.process, n.exited, n.admin, n.waiting = process, exited, conn.(*net.UnixConn), map[uint64]chan []byte{}
	n.mu.Unlock()
	go n.read(n.admin)
	n.command(settings(), nil)
	for _, p := range n.plugins {
		n.command(p.added(), p.socket)
	}
	n.command(le32(3), nil) // Start
}

// Kill is kill -9.
func (n *Netcore) Kill() {
	n.mu.Lock()
	process, exited, admin := n.process, n.exited, n.admin
	n.process = nil
	n.mu.Unlock()
	if process != nil {
		_ = process.Process.Kill()
		<-exited
		_ = admin.Close()
	}
}

// Ticket lets another node dial this one.
func (n *Netcore) Ticket() string {
	n.t.Helper()
	response := n.command(le32(6), nil)
	if binary.LittleEndian.Uint32(response) != 4 || len(response) < 12 {
		n.t.Fatalf("the answer to Ticket is %x", response)
	}
	return string(response[12:])
}

var environment sync.Mutex // what Connect of the SDK reads is one for the process

// Connect starts a session as the plugin of this name.
func (n *Netcore) Connect(name string) *polypeer.Node {
	n.t.Helper()
	for _, p := range n.plugins {
		if p.name != name {
			continue
		}
		environment.Lock()
		defer environment.Unlock()
		defer os.Unsetenv("POLYPEER_TOKEN")
		defer os.Unsetenv("POLYPEER_GATEWAY")
		_ = os.Setenv("POLYPEER_GATEWAY", p.path)
		_ = os.Setenv("POLYPEER_TOKEN", hex.EncodeToString(p.token[:]))
		ctx, cancel := context.WithTimeout(context.Background(), Limit)
		defer cancel()
		node, err := polypeer.Connect(ctx)
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = node.Close() })
		return node
	}
	n.t.Fatalf("no plugin %q was started", name)
	return nil
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func le64(b []byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(b, v)
}
func text(b []byte, v string) []byte { return append(le64(b, uint64(len(v))), v...) }

// settings is Configure: one loopback address, the local network off, the other settings as by default.
func settings() []byte {
	b := text(le64(le32(16), 1), "127.0.0.1:0") // listen
	b = text(b, "main")                         // network
	b = append(b, 0, 0, 0)                      // seed_only; watermarks: none, none
	b = append(b, 1, 0)                         // remembered, lan
	b = append(le64(b, 0), 0, 1)                // dns_seeds, resolver: none, builtin
	b = append(le64(b, 0), 1, 1)                // list, exchange, dht
	b = append(b, 0, 0, 0)                      // Mainline: off, its port
	return le64(b, 0)                           // its bootstrap nodes
}

// added is AddLaunch with grants for everything.
func (p *Plugin) added() []byte {
	b := text(le64(le32(0), p.launch), p.name)
	b = append(b, p.token[:]...)
	for i := 0; i < 3; i++ { // serve, dial, serve_local
		b = text(le64(b, 1), "*")
	}
	b = append(b, le32(1)...) // any peer
	for i := 0; i < 2; i++ {  // topics, dht
		b = text(le64(b, 1), "*")
	}
	return le64(b, 0) // routes
}

// command sends an AdminRequest, with a descriptor if it has one, and returns the AdminResponse.
func (n *Netcore) command(request []byte, file *os.File) []byte {
	n.t.Helper()
	answer := make(chan []byte, 1)
	n.mu.Lock()
	n.next++
	id, admin := n.next, n.admin
	n.waiting[id] = answer
	n.mu.Unlock()
	body := append(le64(nil, id), request...)
	out := append(le32(uint32(len(body))), body...)
	var rights []byte
	if file != nil {
		rights = syscall.UnixRights(int(file.Fd()))
	}
	if _, _, err := admin.WriteMsgUnix(out, rights, nil); err != nil {
		n.t.Fatal("the admin session: ", err)
	}
	select {
	case response := <-answer:
		if binary.LittleEndian.Uint32(response) == 0 {
			n.t.Fatalf("the network core refused: %q", response[4:])
		}
		return response
	case <-time.After(Limit):
		n.t.Fatal("the network core did not answer")
		return nil
	}
}

// read hands each response to whoever waits; events are of no interest.
func (n *Netcore) read(admin *net.UnixConn) {
	for {
		var header [4]byte
		if _, err := io.ReadFull(admin, header[:]); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32(header[:]))
		if _, err := io.ReadFull(admin, body); err != nil {
			return
		}
		if len(body) < 16 || binary.LittleEndian.Uint32(body) != 0 {
			continue
		}
		n.mu.Lock()
		answer := n.waiting[binary.LittleEndian.Uint64(body[4:])]
		delete(n.waiting, binary.LittleEndian.Uint64(body[4:]))
		n.mu.Unlock()
		if answer != nil {
			answer <- body[12:]
		}
	}
}

// lines passes the process's log on to stderr.
type lines struct{ t testing.TB }

func (l *lines) Write(p []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", l.t.Name(), p)
	return len(p), nil
}

//go:build unix

package handover

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// newDesk is a desk, and its folder.
func newDesk(t *testing.T) (*Desk, string) {
	t.Helper()
	folder := t.TempDir()
	desk, err := Listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(desk.Close)
	return desk, folder
}

// visitor is a command's end of a connection.
func visitor(t *testing.T, folder string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(folder, "handover.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func tell(t *testing.T, conn *net.UnixConn, token string, given ...*os.File) {
	t.Helper()
	frame := binary.LittleEndian.AppendUint32(nil, uint32(8+len(token)))
	frame = append(binary.LittleEndian.AppendUint64(frame, uint64(len(token))), token...)
	var oob []byte
	if len(given) > 0 {
		var rights []int
		for _, file := range given {
			rights = append(rights, int(file.Fd()))
		}
		oob = syscall.UnixRights(rights...)
	}
	if _, _, err := conn.WriteMsgUnix(frame, oob, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptorsAreGivenAndLent(t *testing.T) {
	desk, folder := newDesk(t)
	path := filepath.Join(folder, "a")
	if err := os.WriteFile(path, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()

	contents := make(chan string, 1)
	token, cancel := desk.Expect(func(given *os.File) (*os.File, bool) {
		text, _ := io.ReadAll(given)
		contents <- string(text)
		_ = given.Close()
		lent, err := os.Open(path)
		return lent, err == nil
	})
	conn := visitor(t, folder)
	tell(t, conn, token, own)
	if text := <-contents; text != "hello" {
		t.Fatal(text)
	}
	frame, oob := make([]byte, 5), make([]byte, 64)
	n, oobn, _, _, err := conn.ReadMsgUnix(frame, oob)
	if err != nil || string(frame[:n]) != "\x01\x00\x00\x00\x01" {
		t.Fatal(frame[:n], err)
	}
	lent := descriptors(oob[:oobn])
	if len(lent) != 1 {
		t.Fatal(lent)
	}
	defer lent[0].Close()
	if text, err := io.ReadAll(lent[0]); err != nil || string(text) != "hello" {
		t.Fatal(text, err)
	}
	if cancel() {
		t.Fatal("a token is good for a second visit")
	}
}

func TestDescriptorsThatAreNotTakenAreClosed(t *testing.T) {
	desk, folder := newDesk(t)
	token, cancel := desk.Expect(func(*os.File) (*os.File, bool) { t.Error("visited"); return nil, true })
	for _, wrong := range []struct {
		token string
		times int
	}{{token, 2}, {token, 9}, {token[:5], 1}, {"00000000000000000000000000000000", 1}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		given := make([]*os.File, wrong.times)
		for i := range given {
			given[i] = write
		}
		conn := visitor(t, folder)
		tell(t, conn, wrong.token, given...)
		_ = write.Close()
		_ = conn.CloseWrite()
		_ = read.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := read.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal("a descriptor is still open:", wrong, err)
		}
	}
	if !cancel() {
		t.Fatal("the token was used up")
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	desk, folder := newDesk(t)
	token, cancel := desk.Expect(func(*os.File) (*os.File, bool) { t.Error("visited"); return nil, true })
	short := token[:5]
	for _, wrong := range []string{"00000000000000000000000000000000", short, token + "0"} {
		conn := visitor(t, folder)
		tell(t, conn, wrong)
		_ = conn.CloseWrite()
		if rest, _ := io.ReadAll(conn); len(rest) > 0 {
			t.Fatal(wrong, rest)
		}
	}
	if !cancel() {
		t.Fatal("the token was used up")
	}
	conn := visitor(t, folder)
	tell(t, conn, token)
	if rest, _ := io.ReadAll(conn); len(rest) > 0 {
		t.Fatal("a token that was taken back still works")
	}
}

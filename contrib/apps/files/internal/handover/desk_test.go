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
)

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

func tell(t *testing.T, conn *net.UnixConn, token string, given *os.File) {
	t.Helper()
	frame := binary.LittleEndian.AppendUint32(nil, uint32(8+len(token)))
	frame = append(binary.LittleEndian.AppendUint64(frame, uint64(len(token))), token...)
	var oob []byte
	if given != nil {
		oob = syscall.UnixRights(int(given.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(frame, oob, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDescriptorsAreGivenAndLent(t *testing.T) {
	folder := t.TempDir()
	desk, err := Listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
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
	lent, err := descriptor(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	defer lent.Close()
	if text, err := io.ReadAll(lent); err != nil || string(text) != "hello" {
		t.Fatal(text, err)
	}
	if cancel() {
		t.Fatal("a token is good for a second visit")
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	folder := t.TempDir()
	desk, err := Listen(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	token, cancel := desk.Expect(func(*os.File) (*os.File, bool) { t.Error("visited"); return nil, true })
	short := token[:5]
	for _, wrong := range []string{"00000000000000000000000000000000", short, token + "0"} {
		conn := visitor(t, folder)
		tell(t, conn, wrong, nil)
		_ = conn.CloseWrite()
		if rest, _ := io.ReadAll(conn); len(rest) > 0 {
			t.Fatal(wrong, rest)
		}
	}
	if !cancel() {
		t.Fatal("the token was used up")
	}
	conn := visitor(t, folder)
	tell(t, conn, token, nil)
	if rest, _ := io.ReadAll(conn); len(rest) > 0 {
		t.Fatal("a token that was taken back still works")
	}
}

package polypeer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// fakeNet is the fake network core (ipc-protocol/fake), one process per test: a world of nodes that obey SPEC.md and
// fail on command. Events, requests and grants are in the JSON form of the gateway's types.
type fakeNet struct {
	t  *testing.T
	mu sync.Mutex // one command at a time
	in interface {
		Write([]byte) (int, error)
		Close() error
	}
	out *bufio.Reader
}

// fakeNode is one node with one plugin launch.
type fakeNode struct {
	world  *fakeNet
	id     NodeID
	path   string
	token  [32]byte
	number int
	judged int // verdicts that a test has looked at
}

// fields is an object in JSON.
type fields map[string]any

func newFakeNet(t *testing.T) *fakeNet {
	t.Helper()
	process := exec.Command(fakeBinary(t))
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = process.Wait() })
	return &fakeNet{t: t, in: in, out: bufio.NewReader(out)}
}

// fakeBinary is where POLYPEER_BIN says, or where the source tree has it built.
func fakeBinary(t *testing.T) string {
	t.Helper()
	folders := []string{filepath.Join("..", "target", "release"), filepath.Join("..", "target", "debug")}
	if folder := os.Getenv("POLYPEER_BIN"); folder != "" {
		folders = append([]string{folder}, folders...)
	}
	for _, folder := range folders {
		path := filepath.Join(folder, "polypeer-fake-netcore")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("polypeer-fake-netcore is not built; run: make build")
	return ""
}

// do gives one command and reads its reply into `into`, if that is not nil.
func (w *fakeNet) do(command any, into any) {
	w.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		w.t.Fatal(err)
	}
	reply, err := w.out.ReadBytes('\n')
	if err != nil || bytes.HasPrefix(reply, []byte(`{"error"`)) {
		w.t.Fatalf("%s: %s (%v)", line, reply, err)
	}
	if into != nil {
		if err := json.Unmarshal(reply, into); err != nil {
			w.t.Fatalf("%s: %s (%v)", line, reply, err)
		}
	}
}

func (w *fakeNet) node() *fakeNode {
	w.t.Helper()
	folder, err := os.MkdirTemp("", "pp") // a socket's path has at most 108 bytes
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = os.RemoveAll(folder) })
	n := &fakeNode{world: w, path: filepath.Join(folder, "gateway")}
	_, _ = rand.Read(n.id[:])
	var reply struct {
		Launch int
		Token  string
	}
	w.do(fields{"launch": fields{"node": n.id.String(), "plugin": "tester", "path": n.path}}, &reply)
	n.number = reply.Launch
	if _, err := hex.Decode(n.token[:], []byte(reply.Token)); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (n *fakeNode) connect() *Node {
	n.world.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, err := connect(ctx, gateway{n.path, n.token})
	if err != nil {
		n.world.t.Fatal(err)
	}
	n.world.t.Cleanup(func() { _ = node.Close() })
	return node
}

// Commands.

func (n *fakeNode) do(command string, with fields) {
	n.world.t.Helper()
	with["launch"] = n.number
	n.world.do(fields{command: with}, nil)
}

// crash is kill -9: every connection is cut. The listening socket stays, as the supervisor keeps it.
func (n *fakeNode) crash() { n.world.do(fields{"kill": fields{"node": n.id.String()}}, nil) }

func (n *fakeNode) restart() { n.world.do(fields{"start": fields{"node": n.id.String()}}, nil) }

// event sends an event of a kind to the plugin's session.
func (n *fakeNode) event(kind string, value any) {
	n.world.t.Helper()
	n.do("event", fields{"event": fields{kind: value}})
}

// heartbeat asks the plugin whether it is alive.
func (n *fakeNode) heartbeat() {
	n.world.t.Helper()
	n.do("event", fields{"event": "Heartbeat"})
}

// close ends the plugin's session.
func (n *fakeNode) close(code ErrorCode) {
	n.world.t.Helper()
	n.do("close", fields{"failure": fields{"code": code, "message": ""}})
}

// send sends bytes on the plugin's session.
func (n *fakeNode) send(bytes []byte) {
	n.world.t.Helper()
	n.do("send", fields{"to": "session", "bytes": hex.EncodeToString(bytes)})
}

// allow changes what the plugin may do, without telling it.
func (n *fakeNode) allow(grants fields) { n.do("grants", fields{"grants": grants}) }

// tells changes what a plugin learns when it begins to watch the network.
func (n *fakeNode) tells(reach string, addresses ...string) {
	n.do("network", fields{"reach": reach, "addresses": append([]string{}, addresses...)})
}

// answer answers requests of a kind, which have this name unless it is "", with a response; nil: does what they ask and
// never answers.
func (n *fakeNode) answer(kind, name string, response any) {
	with := fields{"requests": []string{kind}, "name": nil, "times": 1 << 40, "with": response}
	if name != "" {
		with["name"] = name
	}
	n.do("answer", with)
}

// answerAll takes back every answer.
func (w *fakeNet) answerAll() { w.do("answer_all", nil) }

func (w *fakeNet) forgetProviders() { w.do("forget_providers", nil) }

// granting is grants: the same patterns for everything but the changes, and any peer.
func granting(patterns []string, changes fields) fields {
	all := fields{"peers": "Any", "routes": []string{}}
	for _, grant := range []string{"serve", "dial", "serve_local", "topics", "dht"} {
		all[grant] = append([]string{}, patterns...)
	}
	for grant, patterns := range changes {
		all[grant] = patterns
	}
	return all
}

func failedWith(code ErrorCode) fields {
	return fields{"Failed": fields{"code": code, "message": ""}}
}

// Observations.

// fakeState is what a launch's session asked for.
type fakeState struct {
	Session        bool
	Hellos         int
	Heartbeats     int
	Topics         [][2]string
	WatchesPeers   bool `json:"watches_peers"`
	WatchesNetwork bool `json:"watches_network"`
}

func (n *fakeNode) state() fakeState {
	n.world.t.Helper()
	var world struct{ Launches map[int]fakeState }
	n.world.do("state", &world)
	return world.Launches[n.number]
}

// requests is all requests of a kind that the plugin ever made.
func requests[T any](n *fakeNode, kind string) (found []T) {
	n.world.t.Helper()
	var reply struct{ Requests []json.RawMessage }
	n.world.do(fields{"requests": fields{"launch": n.number, "from": 0}}, &reply)
	for _, request := range reply.Requests {
		byKind := map[string]T{}
		if json.Unmarshal(request, &byKind) != nil {
			continue // one without fields
		}
		if request, is := byKind[kind]; is {
			found = append(found, request)
		}
	}
	return found
}

// fakeVerdict is a Judge request.
type fakeVerdict struct{ Topic, Message, Verdict string }

// verdict waits for the next verdict of a plugin.
func verdict(t *testing.T, n *fakeNode) fakeVerdict {
	t.Helper()
	var found []fakeVerdict
	until(t, func() bool {
		found = requests[fakeVerdict](n, "Judge")
		return len(found) > n.judged
	})
	n.judged++
	return found[n.judged-1]
}

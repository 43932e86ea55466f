// Go-noticeboard is an example plugin: a noticeboard that all nodes share. Each node has one notice on it, and
// everybody sees all of them. It speaks with the example python-noticeboard.
//
// A notice travels as a message of the topic noticeboard/notices, whose author the network proves. A board that starts
// later asks others for theirs: it finds them as providers of noticeboard/board, and makes a request. What this node
// has to say is in notice.txt in the plugin's folder of data; it is read at the start.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"polypeer"
)

const (
	topic    = "noticeboard/notices"
	provided = "noticeboard/board"
	protocol = "noticeboard/1"
	longest  = 140              // bytes of a notice
	room     = 64               // notices on a board: their JSON fits in the answer to one request, however it is escaped
	again    = 10 * time.Minute // after that a node says its notice again, for those who came since, and at most between two searches
	soon     = 5 * time.Second  // before something that did not work is tried again
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	node, err := polypeer.Connect(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	b := &board{notices: map[string]string{}}
	if _, err := node.HandleRequests(ctx, protocol, b.answer); err != nil {
		return err
	}
	messages, err := node.Subscribe(ctx, topic, polypeer.WithValidator(check))
	if err != nil {
		return err
	}
	defer messages.Close()
	go b.say(ctx, node)
	go b.catchUp(ctx, node)
	for {
		message, err := messages.Next(ctx)
		if err != nil {
			return err
		}
		b.add(message.Author.String(), string(message.Payload))
	}
}

// check lets what is no notice go no further than the first board. Boards look at their own before they say it: whoever
// publishes what others reject is blamed for it.
func check(_ context.Context, message *polypeer.Message) polypeer.Verdict {
	if isNotice(string(message.Payload)) {
		return polypeer.Accept
	}
	return polypeer.Reject
}

// isNotice says whether it is a line of text, and not too long.
func isNotice(text string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return text != "" && len(text) <= longest && utf8.ValidString(text) && !strings.ContainsFunc(text, unprintable)
}

// board is notices by their authors' node ids; when it is full, no new authors get on.
type board struct {
	mu      sync.Mutex
	notices map[string]string
}

// add puts up a notice, in place of the author's last.
func (b *board) add(author, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.notices[author]
	if before == text || !known && len(b.notices) >= room {
		return
	}
	b.notices[author] = text
	fmt.Printf("%.10s: %s\n", author, text)
}

func (b *board) has(author string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, known := b.notices[author]
	return known
}

// answer gives all of it to a board that asks.
func (b *board) answer(context.Context, *polypeer.Call) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return json.Marshal(b.notices)
}

// say says this node's notice, now and again.
func (b *board) say(ctx context.Context, node *polypeer.Node) {
	text := node.Plugin() + " was here"
	if file, err := os.ReadFile(filepath.Join(os.Getenv("POLYPEER_DATA"), "notice.txt")); err == nil {
		text = strings.TrimSpace(string(file))
	}
	if !isNotice(text) {
		log.Printf("notice.txt is no notice, and is not said; expected one line of 1 to %d bytes", longest)
		return
	}
	b.add(node.ID().String(), text)
	for ctx.Err() == nil {
		if _, err := node.Publish(ctx, topic, []byte(text)); err != nil {
			log.Print("not said: ", err)
		}
		pause(ctx, again)
	}
}

// catchUp says that there is a board here, and reads others' boards, once one is found: a node may be alone for long.
func (b *board) catchUp(ctx context.Context, node *polypeer.Node) {
	said, wait := false, soon
	for ctx.Err() == nil {
		found, err := false, error(nil)
		if !said {
			_, err = node.Provide(ctx, provided)
			said = err == nil
		}
		if said {
			found, err = b.readOthers(ctx, node)
		}
		switch {
		case found:
			return
		case errors.Is(err, polypeer.ErrNotGranted):
			log.Print("other boards cannot be looked for: ", err)
			return
		case err != nil:
			log.Print("other boards cannot be looked for yet: ", err)
			wait = soon
		default: // nobody has a board yet; this one hears of each new notice anyway
			wait = min(2*wait, again)
		}
		pause(ctx, wait)
	}
}

// readOthers takes what is on a few others' boards, and says whether there was one.
func (b *board) readOthers(ctx context.Context, node *polypeer.Node) (bool, error) {
	peers, err := node.FindProviders(ctx, provided, 4)
	found := false
	for _, peer := range peers {
		if err := b.read(ctx, node, peer); err != nil {
			log.Printf("the board of %.10s cannot be read: %v", peer, err)
			continue
		}
		log.Printf("read the board of %.10s", peer)
		found = true
	}
	return found, err
}

// read takes what another board has and this one has not. Its word is all there is for who said what.
func (b *board) read(ctx context.Context, node *polypeer.Node, peer polypeer.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reply, err := node.Request(ctx, peer.String(), protocol, nil)
	if err != nil {
		return err
	}
	var others map[polypeer.NodeID]string
	if err := json.Unmarshal(reply, &others); err != nil {
		return err
	}
	for author, text := range others {
		if isNotice(text) && !b.has(author.String()) {
			b.add(author.String(), text)
		}
	}
	return nil
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

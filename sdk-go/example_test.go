package polypeer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"polypeer"
)

// Outside of Polypeer, Connect says what is missing.
func Example() {
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if errors.Is(err, polypeer.ErrNotAPlugin) {
		fmt.Println("not started by Polypeer")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	listener, err := node.Listen(ctx, "echo/1")
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
	// Output: not started by Polypeer
}

// Serve a web site to peers.
func ExampleNode_Listen() {
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := node.Listen(ctx, "site/1")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.FileServer(http.Dir("site"))))
}

// Fetch from a peer's web site; streams are kept alive between requests.
func ExampleNode_Dial() {
	node, err := polypeer.Connect(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	peer := "polypeer:…" // a ticket, or a node id
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return node.Dial(ctx, peer, "site/1") },
	}}
	response, err := client.Get("http://peer/index.html")
	if err != nil {
		log.Fatal(err)
	}
	_ = response.Body.Close()
}

// Answer requests: one message each way.
func ExampleNode_HandleRequests() {
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	service, err := node.HandleRequests(ctx, "sum/1", func(_ context.Context, call *polypeer.Call) ([]byte, error) {
		if len(call.Payload) == 0 {
			return nil, &polypeer.Error{Code: 1, Message: "nothing to add up"}
		}
		total := 0
		for _, b := range call.Payload {
			total += int(b)
		}
		return []byte(fmt.Sprint(total)), nil
	})
	if err != nil {
		log.Fatal(err)
	}
	<-service.Done()
}

// Publish to a topic, and look at what others publish before the node passes it on.
func ExampleNode_Subscribe() {
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	short := func(_ context.Context, message *polypeer.Message) polypeer.Verdict {
		if len(message.Payload) > 500 {
			return polypeer.Reject
		}
		return polypeer.Accept
	}
	news, err := node.Subscribe(ctx, "chat/news", polypeer.WithValidator(short))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := node.Publish(ctx, "chat/news", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	for {
		message, err := news.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", message.Author, message.Payload)
	}
}

// Keep a record in the network's hash table, signed with a key of the plugin's own.
func ExampleNode_PutSigned() {
	ctx := context.Background()
	node, err := polypeer.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil) // kept in POLYPEER_DATA by a real plugin
	if err != nil {
		log.Fatal(err)
	}
	sequence := uint64(time.Now().UnixMilli())
	record, err := polypeer.SignRecord(key, "chat/motd", sequence, time.Now().Add(time.Hour), []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := node.PutSigned(ctx, record); err != nil {
		log.Fatal(err)
	}
	found, known, err := node.GetRecord(ctx, record.Key, "chat/motd")
	fmt.Println(string(found.Value), known, err)
}

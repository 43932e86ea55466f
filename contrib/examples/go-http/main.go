// Go-http is an example plugin: it serves a web page to peers with net/http as it is, and when it starts fetches the
// page of every peer that serves one.
//
//	go build -o go-http . && polypeer plugin install .
//	polypeer plugin logs go-http -f
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"syscall"

	"polypeer"
)

const protocol = "hello-http/1"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	node, err := polypeer.Connect(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	listener, err := node.Listen(ctx, protocol)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- http.Serve(listener, page(node)) }()
	go visit(ctx, node)
	if err := node.Ready(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// page greets whoever asks by the name of their node.
func page(node *polypeer.Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, this is %s\n", r.RemoteAddr, node.ID())
	})
	return mux
}

// visit fetches the page of each peer that serves one, now and when one connects.
func visit(ctx context.Context, node *polypeer.Node) {
	// The host of a URL is the peer's node id: DialContext is all that net/http needs to know.
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			peer, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return node.Dial(ctx, peer, protocol)
		},
	}}
	events, err := node.WatchPeers(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	all := func() {
		peers, err := node.Peers(ctx)
		if err != nil {
			log.Print(err)
		}
		for _, peer := range peers {
			greet(ctx, client, peer)
		}
	}
	for event := range events { // it begins with the connected peers
		switch event.Kind {
		case polypeer.PeerUp:
			greet(ctx, client, event.Info)
		case polypeer.PeersMissed:
			all()
		}
	}
}

func greet(ctx context.Context, client *http.Client, peer polypeer.PeerInfo) {
	if !slices.Contains(peer.Protocols, protocol) {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer.Node.String()+"/", nil)
	if err != nil {
		log.Print(err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		log.Print(err)
		return
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		log.Print(err)
		return
	}
	log.Printf("%s", text)
}

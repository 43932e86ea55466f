// The plugin my-plugin answers requests with a greeting.
package main

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"syscall"

	"polypeer"
)

const protocol = "my-plugin/1"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run serves until Polypeer stops this plugin.
func run(ctx context.Context) error {
	node, err := polypeer.Connect(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	if _, err := node.HandleRequests(ctx, protocol, greet); err != nil {
		return err
	}
	fmt.Printf("serves %s on node %s\n", protocol, node.ID())
	select {
	case <-ctx.Done():
		return nil
	case <-node.Done():
		return node.Err()
	}
}

// greet returns the reply to one request; call.Origin is the node that asks.
func greet(_ context.Context, call *polypeer.Call) ([]byte, error) {
	name := strings.TrimSpace(string(call.Payload))
	if name == "" {
		name = "stranger"
	}
	fmt.Printf("%q says hello\n", name)
	return []byte("hello " + name + "\n"), nil
}

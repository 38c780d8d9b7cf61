// Command cerebrum is a peer-to-peer node for sharing sensitive data and AI
// models without trusting any one party.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/testnet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	env := &cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Now: time.Now}
	code := cli.Main(ctx, env, cli.Root(env, testnet.Command(env)), os.Args[1:])
	stop()
	os.Exit(code)
}

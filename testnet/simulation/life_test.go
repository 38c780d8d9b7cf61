package simulation

import (
	"bytes"
	"context"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"cerebrum.dev/cerebrum/node/api"
)

var (
	nodes = flag.Int("nodes", 100, "members of the simulated network, validators not counted")
	seed  = flag.Uint64("seed", 1, "what chance is drawn from")
)

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := found(t, *seed, *nodes, 0.01)
		w.start()
		defer w.halt()
		t.Logf("started after %v", time.Since(began))
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		a, err := w.nodes[0].node.AddStream(ctx, api.AddRequest{Name: "x"}, bytes.NewReader(make([]byte, 100000)))
		t.Log(a, err)
		g, err := w.nodes[0].node.Grant(ctx, api.GrantRequest{Address: a.Address, To: w.nodes[1].contact, Can: "read", Seconds: 3600})
		t.Log(g, err)
		var out bytes.Buffer
		got, err := w.nodes[1].node.GetStream(ctx, api.GetRequest{Address: a.Address}, &out)
		t.Log(got, err, out.Len())
		if err != nil {
			t.Log(w.nodes[1].log.String(), w.validators[0].log.String())
		}
	})
}

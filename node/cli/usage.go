package cli

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"cerebrum.dev/cerebrum/node/api"

	"github.com/dustin/go-humanize"
)

// printUsage is a table: a line for each scope, with what is used of what.
func printUsage(w io.Writer, u *api.Usage) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tconnections\tstreams in\t(each peer)\tstreams out\tmemory")
	for _, s := range u.Scopes {
		name := plain(s.Name)
		if s.Role != "" {
			name += " (" + s.Role + ")"
		}
		if name == "" {
			name = s.Kind
		} else {
			name = s.Kind + " " + name
		}
		each := "-"
		if s.StreamsInPerPeer > 0 {
			each = limit(s.StreamsInPerPeer, count)
		}
		// Of a protocol or service there are no connections of its own.
		conns := of(s.Connections, count)
		if s.Kind == "protocol" || s.Kind == "service" {
			conns = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", name, conns, of(s.StreamsIn, count), each, of(s.StreamsOut, count), of(s.Memory, size))
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s admission\n", counted(u.Pending, "connection waits for its", "connections wait for their"))
	if u.Tripped > 0 {
		fmt.Fprintf(w, "%s over connections that were never admitted, and closed: report this\n", counted(int64(u.Tripped), "stream came", "streams came"))
	}
}

func count(n int64) string { return humanize.Comma(n) }
func size(n int64) string  { return humanize.IBytes(uint64(max(n, 0))) }

func of(u api.Use, word func(int64) string) string {
	return word(u.Used) + " of " + limit(u.Limit, word)
}

// limit is a limit in words; libp2p has huge numbers for none.
func limit(n int64, word func(int64) string) string {
	if n >= math.MaxInt64>>1 {
		return "any"
	}
	return word(n)
}

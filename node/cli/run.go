package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"

	"github.com/dustin/go-humanize"
	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"
)

func runCommand(e *Env) *cobra.Command {
	var listen []string
	c := &cobra.Command{
		Use: "run", Short: "Run the node in the foreground", Args: cobra.NoArgs,
		Long: `Run the node of this home until it is told to stop. SIGTERM and Ctrl-C let
requests under way finish. A home whose peer is in the committee is a validator.`,
		RunE: func(c *cobra.Command, _ []string) error {
			defer paceCollector(e.Now)()
			h, err := e.open()
			if err != nil {
				return err
			}
			if len(listen) > 0 {
				h.Config.Listen = listen
				for _, l := range listen {
					if _, err := multiaddr.NewMultiaddr(l); err != nil {
						return fault.Wrap(fault.Usage, err, "an address looks like /ip4/0.0.0.0/tcp/4801", "--listen %s", l)
					}
				}
			}
			level, err := h.Config.Level()
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: level}))
			n, err := daemon.Open(h, log, e.Now)
			if err != nil {
				return err
			}
			var once sync.Once
			err = n.Run(c.Context(), func(r daemon.Ready) { once.Do(func() { e.ready(r) }) })
			return errors.Join(err, n.Close())
		},
	}
	c.Flags().StringArrayVar(&listen, "listen", nil, "listen on this multiaddr instead of the configured ones")
	return c
}

func (e *Env) ready(r daemon.Ready) {
	if e.JSON {
		json.NewEncoder(e.Out).Encode(struct {
			Event  string   `json:"event"`
			PeerID string   `json:"peer_id"`
			Addrs  []string `json:"addrs"`
		}{"ready", r.PeerID, r.Addrs})
		return
	}
	fmt.Fprintf(e.Out, "ready: %s\n", r.PeerID)
	for _, a := range r.Addrs {
		fmt.Fprintf(e.Out, "  %s\n", a)
	}
}

func statusCommand(e *Env) *cobra.Command {
	var network bool
	c := &cobra.Command{
		Use: "status", Short: "How the node is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				if network {
					u, err := s.Usage(ctx)
					if err != nil {
						return err
					}
					return e.print(u, func(w io.Writer) { printUsage(w, u) })
				}
				st, err := s.Status(ctx)
				if err != nil {
					return err
				}
				return e.print(st, func(w io.Writer) { printStatus(w, st) })
			})
		},
	}
	c.Flags().BoolVar(&network, "network", false, "what peers make the node hold, against its limits")
	return c
}

func printStatus(w io.Writer, s *api.Status) {
	row := func(k, format string, a ...any) { fmt.Fprintf(w, "%-10s %s\n", k, fmt.Sprintf(format, a...)) }
	health := "healthy"
	if !s.Healthy {
		health = "not healthy"
	}
	row("state", "%s, %s", s.Role, health)
	row("home", "%s", s.Home)
	if s.Network != "" {
		row("network", "%s (%s)", plain(s.NetworkName), s.Network)
	}
	if s.Version > 0 {
		row("record", "root epoch %d, version %d, until %s", s.RootEpoch, s.Version, s.Expires)
	}
	if s.Proofs > 0 {
		row("proofs", "%d against validators that signed twice", s.Proofs)
	}
	row("identity", "%s", s.Identity)
	row("peer", "%s", s.PeerID)
	for _, a := range s.Addresses {
		row("address", "%s", a)
	}
	row("peers", "%d", s.Peers)
	if s.Banned > 0 {
		row("barred", "%d peers for a while: see `cerebrum peers`", s.Banned)
	}
	if s.MemberUntil != "" {
		row("member", "until %s, unless it is renewed", s.MemberUntil)
	}
	row("objects", "%d (%s)", s.Objects, humanize.IBytes(s.Bytes))
	if s.Carried > 0 {
		row("carried", "%s of others", counted(s.Carried, "object", "objects"))
	}
	if n := len(s.UnderReplicated); n > 0 {
		row("copies", "%d of %d targets lack copies", n, s.Replicated)
		for _, u := range s.UnderReplicated {
			row("", "%d of %d  %s  %s", u.Healthy, u.Copies, u.Address, plain(u.Name))
		}
	} else if s.Replicated > 0 {
		row("copies", "%s", counted(s.Replicated, "target has its own", "targets have theirs"))
	}
	switch {
	case s.FreshnessSeconds != nil:
		row("freshness", "%.0f s (at most 300)", *s.FreshnessSeconds)
	case s.Running:
		row("freshness", "too few answers")
	}
	row("outbox", "%d waiting", s.Outbox)
	if s.Pending > 0 {
		row("pending", "%s for persons at validators", counted(s.Pending, "grant waits", "grants wait"))
	}
	if s.Desk > 0 {
		row("desk", "%s for you: see `cerebrum validator pending`", counted(s.Desk, "grant waits", "grants wait"))
	}
	if s.Rotating > 0 {
		row("rotation", "%s shares of an older committee", counted(s.Rotating, "deposit still has", "deposits still have"))
	}
	if s.Erasing > 0 {
		row("erasing", "%s", plain(s.ErasingSays))
	}
	row("audit", "%s", counted(s.AuditEntries, "entry", "entries"))
	if s.AuditLost > 0 {
		row("", "what %s about is lost", counted(s.AuditLost, "of them is", "of them are"))
	}
	if s.Witnessed != nil {
		row("witnessed", "%s", witnessedSays(s.Witnessed))
		for _, r := range s.Witnessed.Refused {
			row("", "%s", plain(r))
		}
		if s.Witnessed.Restored != "" {
			row("", "this witness was restored from an old copy: noticed %s", s.Witnessed.Restored)
		}
	}
	if s.Syslog != nil {
		row("syslog", "%s", plain(syslogSays(s.Syslog)))
	}
	for _, f := range s.Forks {
		row("evidence", "%s", plain(f.Says))
	}
	for _, p := range s.Problems {
		row("problem", "%s", plain(p))
	}
}

func witnessedSays(w *api.Witnessed) string {
	if w.AgeSeconds == nil {
		return fmt.Sprintf("%d of %d validators, too few: %d are needed", w.Have, w.Of, w.Need)
	}
	says := fmt.Sprintf("%s by %d of %d validators, %s ago", counted(w.Cosigned, "entry", "entries"), w.Have, w.Of, ago(*w.AgeSeconds))
	if w.BehindSeconds > 0 {
		says += fmt.Sprintf("; more have waited for %s", ago(w.BehindSeconds))
	}
	return says
}

func syslogSays(s *api.Syslog) string {
	says := s.Target + ": "
	switch {
	case s.Stopped:
		return says + "nothing is sent: " + s.Error
	case s.Behind > 0:
		says += counted(s.Behind, "entry waits", "entries wait")
	default:
		says += "all is sent"
	}
	if s.LeftOut > 0 {
		says += fmt.Sprintf("; %s left out since the node started", counted(s.LeftOut, "entry was", "entries were"))
	}
	if s.Error != "" {
		says += fmt.Sprintf("; it has failed for %s: %s", ago(s.FailingSeconds), s.Error)
	}
	return says
}

func ago(seconds float64) time.Duration { return time.Duration(seconds) * time.Second }

// Package testnet has the commands that run whole networks on one machine:
//
//	cerebrum testnet demo [FILE]    the story of the product, told step by step
//	cerebrum testnet up             a network of real processes to try things on
//	cerebrum testnet status|restart|down
//
// The networks themselves are made by package localnet.
package testnet

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/node/cli"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/testnet/localnet"
	"github.com/spf13/cobra"
)

// Command is `cerebrum testnet`.
func Command(e *cli.Env) *cobra.Command {
	c := &cobra.Command{Use: "testnet", Short: "Whole networks on this machine"}
	c.AddCommand(demoCommand(e), upCommand(e), statusCommand(e), restartCommand(e), downCommand(e))
	return c
}

// program is the running binary. Under `go run` it goes away with the command,
// but what runs from it goes on.
func program() (string, error) {
	p, err := os.Executable()
	if err != nil {
		return "", fault.Wrap(fault.Failed, err, "build it with `go build -o cerebrum .`", "the program cannot find itself")
	}
	return p, nil
}

// size are the flags that say how large a network is.
type size struct{ nodes, validators, threshold, shares, faults int }

func (s *size) flags(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&s.nodes, "nodes", 5, "how many nodes")
	f.IntVar(&s.validators, "validators", 4, "how many validators")
	f.IntVar(&s.threshold, "threshold", 0, "signatures that a statement needs (default: 3 of 4)")
	f.IntVar(&s.shares, "shares", 0, "shares that a key needs (default: as many as signatures)")
	f.IntVar(&s.faults, "faults", -1, "liars or losses survived (default: as many as the number of validators allows)")
}

func (s *size) numbers() trust.Numbers {
	n := trust.Default(s.validators)
	if s.threshold > 0 {
		n.K, n.T = uint16(s.threshold), uint16(s.threshold)
	}
	if s.shares > 0 {
		n.T = uint16(s.shares)
	}
	if s.faults >= 0 {
		n.F = uint16(s.faults)
	}
	return n
}

func upCommand(e *cli.Env) *cobra.Command {
	var s size
	var dir, level string
	var detach bool
	c := &cobra.Command{
		Use: "up", Short: "Start a network of real processes", Args: cobra.NoArgs,
		Long: `Start validators and nodes as processes of this machine, each with a home of its
own under one folder, and return when all are ready. Without --detach the network
ends with this command.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			bin, err := program()
			if err != nil {
				return err
			}
			dir, err := folder(dir)
			if err != nil {
				return err
			}
			n, err := localnet.Create(localnet.Plan{Dir: dir, Nodes: s.nodes, Numbers: s.numbers(), Log: level, Now: e.Now})
			if err != nil {
				return err
			}
			if bin, err = n.Install(bin); err == nil {
				err = n.Start(ctx, bin)
			}
			if err != nil {
				return errors.Join(err, n.Remove())
			}
			if err := announce(e, n, detach); err != nil || detach {
				return err
			}
			<-ctx.Done()
			return n.Stop(ctx)
		},
	}
	s.flags(c)
	c.Flags().StringVar(&dir, "dir", "", "the network's folder (default: a new one)")
	c.Flags().StringVar(&level, "log", "info", "level of the processes' logs")
	c.Flags().BoolVar(&detach, "detach", false, "return and leave the network running")
	return c
}

// folder names the network's folder, which Create makes: a failed `up` leaves
// nothing.
func folder(dir string) (string, error) {
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "cerebrum-testnet-"+strings.ToLower(rand.Text()[:8]))
	}
	return filepath.Abs(dir)
}

func announce(e *cli.Env, n *localnet.Network, detached bool) error {
	if e.JSON {
		return printJSON(e.Out, n)
	}
	w := e.Out
	fmt.Fprintf(w, "network %s\n\n", n.ID)
	for _, p := range n.Processes {
		fmt.Fprintf(w, "  %-11s pid %-7d %s\n", p.Name, p.PID, p.Home)
	}
	fmt.Fprintf(w, `
Use it:

  . %s
  CEREBRUM_HOME=$node1 cerebrum add FILE
  CEREBRUM_HOME=$node2 cerebrum id show
  CEREBRUM_HOME=$node1 cerebrum grant ADDRESS --to CONTACT --can read --for 1h
  CEREBRUM_HOME=$node2 cerebrum get ADDRESS -o COPY

`, filepath.Join(n.Dir, localnet.EnvFile))
	if detached {
		fmt.Fprintf(w, "End it:  cerebrum testnet down --dir %s\n", n.Dir)
	} else {
		fmt.Fprintln(w, "Ctrl-C ends it; the homes stay.")
	}
	return nil
}

// load finds the network of --dir or of the environment that `up` wrote.
func load(dir string) (*localnet.Network, error) {
	if dir == "" {
		dir = os.Getenv("CEREBRUM_TESTNET")
	}
	if dir == "" {
		return nil, fault.New(fault.Usage, "name its folder with --dir", "which network?")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return localnet.Load(abs)
}

func dirFlag(c *cobra.Command, dir *string) *cobra.Command {
	c.Flags().StringVar(dir, "dir", "", "the network's folder")
	return c
}

func statusCommand(e *cli.Env) *cobra.Command {
	var dir string
	return dirFlag(&cobra.Command{
		Use: "status", Short: "How a network's processes are", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := load(dir)
			if err != nil {
				return err
			}
			h := n.Health(c.Context())
			if e.JSON {
				raw, err := localnet.MarshalState(n, h)
				if err == nil {
					_, err = e.Out.Write(append(raw, '\n'))
				}
				return err
			}
			printHealth(e.Out, h)
			return nil
		},
	}, &dir)
}

func printHealth(w io.Writer, hs []localnet.Health) {
	for _, h := range hs {
		state := "healthy"
		if !h.Healthy {
			state = "not healthy"
			if len(h.Problems) > 0 {
				state += ": " + h.Problems[0]
			}
		}
		fmt.Fprintf(w, "%-11s %-9s pid %-7d %s\n", h.Name, h.Role, h.PID, state)
	}
}

func restartCommand(e *cli.Env) *cobra.Command {
	var dir string
	return dirFlag(&cobra.Command{
		Use: "restart NAME", Short: "Start a process that was killed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := load(dir)
			if err != nil {
				return err
			}
			p, err := n.Find(args[0])
			if err != nil {
				return err
			}
			bin, err := program()
			if err != nil {
				return err
			}
			if err := n.Restart(c.Context(), p, bin); err != nil {
				return err
			}
			if e.JSON {
				return printJSON(e.Out, p)
			}
			fmt.Fprintf(e.Out, "%s is running, as process %d\n", p.Name, p.PID)
			return nil
		},
	}, &dir)
}

func downCommand(e *cli.Env) *cobra.Command {
	var dir string
	var keep bool
	c := dirFlag(&cobra.Command{
		Use: "down", Short: "End a network and remove its folder", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := load(dir)
			if err != nil {
				return err
			}
			if err := n.Stop(c.Context()); err != nil {
				return err
			}
			if !keep {
				if err := n.Remove(); err != nil {
					return err
				}
			}
			if e.JSON {
				return printJSON(e.Out, struct {
					Stopped int  `json:"stopped"`
					Removed bool `json:"removed"`
				}{len(n.Processes), !keep})
			}
			fmt.Fprintf(e.Out, "ended %d processes\n", len(n.Processes))
			return nil
		},
	}, &dir)
	c.Flags().BoolVar(&keep, "keep", false, "keep the folder")
	return c
}

// Package cli is the command line: one command a file, on spf13/cobra.
//
// Commands talk to the node that runs on the home, over its socket. Where none
// runs, those that need no network work on the home directly, and the others
// say how to start one. Results go to standard output, everything else to
// standard error; --json makes each result one JSON document.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/api/client"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Env is what the commands share: the outside world and the global flags.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Now      func() time.Time

	Home       string
	JSON       bool
	Quiet      bool
	Passphrase string // path of a file
}

// Root makes the command tree. more are commands of packages above this one.
func Root(e *Env, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "cerebrum",
		Short: "Share sensitive data and models without trusting any one party",
		Long: `Cerebrum is a peer-to-peer node. What you add is encrypted before it is
stored; a committee of validators releases its key only to whom you granted it.

Try it on this machine:  cerebrum testnet demo`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	f := root.PersistentFlags()
	f.StringVar(&e.Home, "home", "", "the node's folder (default $CEREBRUM_HOME or ~/.cerebrum)")
	f.BoolVar(&e.JSON, "json", false, "print results as JSON")
	f.BoolVarP(&e.Quiet, "quiet", "q", false, "print no more than the result")
	f.StringVar(&e.Passphrase, "passphrase-file", "", "read the passphrase of the keys from a file")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if known := (*fault.Error)(nil); errors.As(err, &known) { // names its flag, and knows better what to do
			return known
		}
		return fault.Wrap(fault.Usage, err, "see `"+c.CommandPath()+" --help`", "%s", c.CommandPath())
	})
	root.AddCommand(initCommand(e), runCommand(e), statusCommand(e), peersCommand(e), inviteCommand(e), joinCommand(e), idCommand(e),
		addCommand(e), getCommand(e), lsCommand(e), infoCommand(e), verifyCommand(e), exportCommand(e), importCommand(e),
		mirrorCommand(e), unmirrorCommand(e), replicateCommand(e), pinCommand(e), unpinCommand(e), gcCommand(e),
		grantCommand(e), delegateCommand(e), acceptCommand(e), grantsCommand(e), grantShowCommand(e), revokeCommand(e), consentCommand(e), consentsCommand(e), requestCommand(e), rekeyCommand(e), eraseCommand(e), retainCommand(e), holdCommand(e),
		networkCommand(e), validatorCommand(e), policyCommand(e), roleCommand(e), auditCommand(e), subjectCommand(e), accessReviewCommand(e), recordsCommand(e),
		anonymizeCommand(e))
	root.AddCommand(more...)
	root.InitDefaultCompletionCmd() // now, so that what follows holds for it too
	usageFaults(root)
	return root
}

// usageFaults gives wrong arguments the exit code of wrong usage.
func usageFaults(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fault.Wrap(fault.Usage, err, "see `"+c.CommandPath()+" --help`", "%s", c.CommandPath())
			}
			return nil
		}
	}
	if c.PreRunE == nil { // cobra checks required flags after it, with an error of its own
		c.PreRunE = func(c *cobra.Command, _ []string) error {
			if err := c.ValidateRequiredFlags(); err != nil {
				return fault.Wrap(fault.Usage, err, "see `"+c.CommandPath()+" --help`", "%s", c.CommandPath())
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil && c.Run == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return fault.New(fault.Usage, "see `"+c.CommandPath()+" --help`", "%s has no command %q", c.CommandPath(), args[0])
		}
	}
	for _, sub := range c.Commands() {
		usageFaults(sub)
	}
}

// filled refuses flags that were given with nothing in them, which is what an unset
// variable of a shell gives: the command would do as if nobody had asked.
func filled(c *cobra.Command, names ...string) error {
	for _, name := range names {
		f := c.Flags().Lookup(name)
		values := []string{f.Value.String()}
		if list, ok := f.Value.(interface{ GetSlice() []string }); ok {
			values = list.GetSlice()
		}
		if f.Changed && slices.Contains(values, "") {
			return fault.New(fault.Usage, "give it a value, or leave it out", "--%s is empty", name)
		}
	}
	return nil
}

// Main runs the command line and returns the exit code. An error is one sentence
// and a next step.
func Main(ctx context.Context, e *Env, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return fault.OK
	}
	f := fault.Of(err)
	if ctx.Err() != nil && f.Exit == fault.Unavailable {
		f = fault.Of(context.Canceled)
	}
	e.complain(f)
	return f.Exit
}

func (e *Env) complain(f *fault.Error) {
	fmt.Fprintf(e.Err, "cerebrum: %s\n", plain(f.Message))
	if f.Hint != "" && !e.Quiet {
		fmt.Fprintf(e.Err, "  %s\n", plain(f.Hint))
	}
}

// plain takes out of what may contain names from elsewhere the characters that act on a
// terminal or on a line instead of standing in it. Those that turn the direction of
// writing are among them: with one, exe.gpj is shown where the name is jpg.exe.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if fault.Acts(r) {
			return '?'
		}
		return r
	}, s)
}

// counted says how many there are: of one thing, or of several.
func counted[N int | int64](n N, one, several string) string {
	return humanize.Comma(int64(n)) + " " + english.PluralWord(int(n), one, several)
}

// print writes a result: JSON where asked for, otherwise what text writes.
func (e *Env) print(v any, text func(w io.Writer)) error {
	if e.JSON {
		return json.NewEncoder(e.Out).Encode(v)
	}
	text(e.Out)
	return nil
}

// dir is the home's folder.
func (e *Env) dir() (string, error) {
	d := e.Home
	if d == "" {
		d = os.Getenv("CEREBRUM_HOME")
	}
	if d == "" {
		h, err := os.UserHomeDir()
		if err != nil {
			return "", fault.New(fault.Usage, "name one with --home", "there is no home directory")
		}
		d = filepath.Join(h, ".cerebrum")
	}
	d, err := filepath.Abs(d)
	if err != nil {
		return "", err
	}
	return d, home.CheckDir(d)
}

// passphrase reads the passphrase from the named file or, on a terminal, asks.
func (e *Env) passphrase() ([]byte, error) {
	if e.Passphrase != "" {
		return readPassphrase(e.Passphrase)
	}
	return e.ask("Passphrase: ")
}

func readPassphrase(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the passphrase file")
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return nil, fault.New(fault.Failed, "", "the passphrase file is empty")
	}
	return []byte(line), nil
}

func (e *Env) ask(prompt string) ([]byte, error) {
	f, ok := e.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fault.New(fault.Failed, "give it with --passphrase-file FILE", "the keys need a passphrase, and there is no terminal to ask for it")
	}
	fmt.Fprint(e.Err, prompt)
	defer fmt.Fprintln(e.Err)
	return term.ReadPassword(int(f.Fd()))
}

// open reads the home.
func (e *Env) open() (*home.Home, error) {
	d, err := e.dir()
	if err != nil {
		return nil, err
	}
	h, err := home.Open(d, e.passphrase)
	return h, keyFault(err)
}

// service runs do with the node that runs on the home or, where none runs, on
// the home itself.
func (e *Env) service(ctx context.Context, do func(context.Context, api.Service) error) error {
	d, err := e.dir()
	if err != nil {
		return err
	}
	if c := client.Dial(ctx, d); c != nil {
		defer c.Close()
		return do(ctx, c)
	}
	h, err := e.open()
	if err != nil {
		return err
	}
	return e.serviceOn(ctx, h, do)
}

// serviceOn is service on a home that is open already.
func (e *Env) serviceOn(ctx context.Context, h *home.Home, do func(context.Context, api.Service) error) error {
	if c := client.Dial(ctx, h.Dir); c != nil {
		defer c.Close()
		return do(ctx, c)
	}
	n, err := daemon.Open(h, slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: slog.LevelError})), e.Now)
	if err != nil {
		return err
	}
	err = n.Offline(ctx, func(ctx context.Context) error { return do(ctx, n) })
	return errors.Join(err, n.Close())
}

// absolute makes a path that means the same to the node.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fault.Wrap(fault.Failed, err, "", "%s", path)
	}
	return abs, nil
}

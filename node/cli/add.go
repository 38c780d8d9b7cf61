package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func addCommand(e *Env) *cobra.Command {
	var labels []string
	var as, update string
	c := &cobra.Command{
		Use: "add PATH...", Short: "Encrypt, store and deposit files and folders", Args: cobra.MinimumNArgs(1),
		Long: `Encrypt files and folders, store them, and deposit shares of their keys with the
validators. The address that it prints is what you grant and what others get.
With - the content comes from standard input.

Without a running node the object stays local, readable by you alone; the node
deposits it when it runs.

--update ADDRESS makes a new version of a file of yours, under a key of its own.
Grants of the object cover it, ADDRESS stays readable, and "get --latest" finds it.
Without --label it keeps the labels.`,
		RunE: func(c *cobra.Command, args []string) error {
			parsed, err := parseLabels(labels)
			if err != nil {
				return err
			}
			if c.Flags().Changed("update") && (len(args) > 1 || update == "") {
				return fault.New(fault.Usage, "", "--update takes the ADDRESS that one PATH is the new version of")
			}
			r := api.AddRequest{As: as, Labels: parsed, Update: update}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				for _, path := range args {
					a, err := e.addOne(ctx, s, path, r)
					if err != nil {
						return err
					}
					if err := e.print(a, func(w io.Writer) { e.printAdded(w, a) }); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().StringArrayVar(&labels, "label", nil, "KEY=VALUE that validators' policy sees; classification=0..255")
	c.Flags().StringVar(&update, "update", "", "ADDRESS of the version that it follows")
	c.Flags().StringVar(&as, "as", "", "the identity that owns it")
	return c
}

func (e *Env) addOne(ctx context.Context, s api.Service, path string, r api.AddRequest) (*api.Added, error) {
	op, stop := e.watch(ctx, s)
	defer stop()
	r.Op = op
	if path == "-" {
		r.Name = "stdin"
		return s.AddStream(ctx, r, e.In)
	}
	var err error
	if r.Path, err = absolute(path); err != nil {
		return nil, err
	}
	return s.Add(ctx, r)
}

func (e *Env) printAdded(w io.Writer, a *api.Added) {
	fmt.Fprintln(w, a.Address)
	if e.Quiet {
		return
	}
	what := humanize.IBytes(uint64(a.Size))
	if a.Directory {
		what = fmt.Sprintf("%d files, %s", a.Files, what)
	}
	state := fmt.Sprintf("shared with %d of %d validators", a.Deposits.Acknowledged, a.Deposits.Of)
	if a.State == "local" {
		state = "local: only you can read it until enough validators can be reached"
	}
	fmt.Fprintf(e.Err, "%s in %.2f s, %s\n", what, a.Seconds, state)
	for _, p := range a.Skipped {
		fmt.Fprintf(e.Err, "skipped %s: neither a file nor a folder\n", plain(p))
	}
}

func parseLabels(in []string) (map[string]string, error) {
	out := map[string]string{}
	for _, l := range in {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, fault.New(fault.Usage, "", "a label is KEY=VALUE, not %q", l)
		}
		if _, twice := out[k]; twice {
			return nil, fault.New(fault.Usage, "", "the label %s stands twice", k)
		}
		out[k] = v
	}
	return out, nil
}

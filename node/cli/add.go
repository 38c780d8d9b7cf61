package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func addCommand(e *Env) *cobra.Command {
	var labels []string
	var as, update string
	var kept retention
	c := &cobra.Command{
		Use: "add PATH...", Short: "Encrypt, store and deposit files and folders", Args: cobra.MinimumNArgs(1),
		Long: `Encrypt files and folders, store them, and deposit shares of their keys with the
validators. The address that it prints is what you grant and what others get.
With - the content comes from standard input.

Without a running node the object stays local, readable by you alone; the node
deposits it when it runs.

--update ADDRESS makes a new version of a file of yours, under a key of its own.
Grants of the object cover it, ADDRESS stays readable, and "get --latest" finds it.
Without --label it keeps the labels.

--retention governance|compliance with --retain-until forbids to erase it before: in
the mode compliance nobody can, you neither; in the mode governance an owner with the
role retention-override can, for a reason. --expire-at has your node erase it then.
Times are like 2031-12-31, 2031-12-31T12:00:00Z or, from now, 90d.`,
		RunE: func(c *cobra.Command, args []string) error {
			parsed, err := parseLabels(labels)
			if err != nil {
				return err
			}
			if err := kept.label(parsed, e.Now()); err != nil {
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
	c.Flags().StringVar(&kept.mode, "retention", "", "governance or compliance, with --retain-until")
	c.Flags().StringVar(&kept.until, "retain-until", "", "the time before which it is not erased")
	c.Flags().StringVar(&kept.expire, "expire-at", "", "the time at which your node erases it")
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
		what = counted(a.Files, "file", "files") + ", " + what
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

// retention are the flags that become labels which validators enforce.
type retention struct{ mode, until, expire string }

// label adds the labels; a label that stands there already is not replaced.
func (r *retention) label(labels map[string]string, now time.Time) error {
	for _, f := range []struct {
		flag, label, text string
		isTime            bool
	}{
		{"--retention", validator.LabelRetention, r.mode, false},
		{"--retain-until", validator.LabelRetainUntil, r.until, true},
		{"--expire-at", validator.LabelExpireAt, r.expire, true},
	} {
		if f.text == "" {
			continue
		}
		if _, twice := labels[f.label]; twice {
			return fault.New(fault.Usage, "", "the label %s stands twice", f.label)
		}
		if !f.isTime {
			labels[f.label] = f.text
			continue
		}
		at, err := moment(f.text, now)
		if err != nil || !at.After(now) {
			return fault.New(fault.Usage, "", "%s is a time to come, such as 2031-12-31 or 90d", f.flag)
		}
		labels[f.label] = validator.StampRetention(at)
	}
	return nil
}

// moment reads a date, a time in RFC 3339, or a time from now.
func moment(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := parseDuration(text)
	return now.Add(d), err
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

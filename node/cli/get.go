package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func getCommand(e *Env) *cobra.Command {
	var output, span string
	var force bool
	var r api.GetRequest
	c := &cobra.Command{
		Use: "get ADDRESS", Short: "Get what you own or were granted", Args: cobra.ExactArgs(1),
		Long: `Get an object's content: ask the validators for its key, fetch its ciphertext
from a holder, verify and decrypt it. Without -o it goes to standard output.

A file appears under its name only when all of it has been verified; a directory
is restored as a folder.

With --latest the validators are asked first which version of the object is the
newest, and that one is read.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Address = args[0]
			if err := parseRange(span, &r); err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				if output == "" || output == "-" {
					return e.getStdout(ctx, s, r)
				}
				op, stop := e.watch(ctx, s)
				r.Op = op
				got, err := getFile(ctx, s, r, output, force)
				stop()
				if err != nil {
					return err
				}
				return e.print(got, func(io.Writer) { e.printGot(got, output) })
			})
		},
	}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "write to this file or folder, - for standard output")
	f.StringVar(&span, "range", "", "FIRST-LAST: only these bytes, both included")
	f.StringVar(&r.As, "as", "", "the identity that reads")
	f.StringVar(&r.Purpose, "purpose", "", "what it is for, where the grant asks")
	f.StringVar(&r.Reason, "reason", "", "a reason for the validators' log")
	f.BoolVar(&r.Latest, "latest", false, "the newest version of the object")
	f.BoolVar(&force, "force", false, "replace an existing file")
	return c
}

func parseRange(s string, r *api.GetRequest) error {
	if s == "" {
		return nil
	}
	first, last, ok := strings.Cut(s, "-")
	var err1, err2 error
	r.First, err1 = strconv.ParseInt(first, 10, 64)
	r.Last, err2 = strconv.ParseInt(last, 10, 64)
	if !ok || err1 != nil || err2 != nil || r.First < 0 || r.Last < r.First {
		return fault.New(fault.Usage, "the first byte is 0, and both ends are included", "--range is FIRST-LAST, such as 0-1023")
	}
	r.Ranged = true
	return nil
}

func (e *Env) getStdout(ctx context.Context, s api.Service, r api.GetRequest) error {
	got, err := s.GetStream(ctx, r, e.Out)
	if err != nil {
		return err
	}
	if e.JSON { // standard output has the content
		return (&Env{Out: e.Err, JSON: true}).print(got, nil)
	}
	return nil
}

func (e *Env) printGot(g *api.Got, output string) {
	if e.Quiet {
		return
	}
	fmt.Fprintf(e.Err, "%s, %s in %.2f s", plain(output), humanize.IBytes(uint64(g.Size)), g.Seconds)
	if g.Directory {
		fmt.Fprintf(e.Err, ", %s", counted(g.Files, "file", "files"))
	}
	if len(g.Releases) > 0 {
		fmt.Fprintf(e.Err, ", released by validators %s", numbers(g.Releases))
	}
	fmt.Fprintln(e.Err)
	if o := g.Origin; o != nil {
		fmt.Fprintf(e.Err, "a release, says its owner: %s, of a table with the sha256 %s; its report is %s\n", plain(o.Method), plain(o.Source), plain(o.Report))
	}
	if len(g.Liars) > 0 {
		fmt.Fprintf(e.Err, "validators %s released shares that do not fit their commitments\n", numbers(g.Liars))
	}
}

func numbers(in []int) string {
	out := make([]string, len(in))
	for i, n := range in {
		out[i] = strconv.Itoa(n)
	}
	return strings.Join(out, ", ")
}

// getFile writes beside the output and renames at the end, so that there is
// never a partial file under the output's name.
func getFile(ctx context.Context, s api.Service, r api.GetRequest, output string, force bool) (got *api.Got, err error) {
	output, err = absolute(output)
	if err != nil {
		return nil, err
	}
	fresh, err := mayWrite(output, force)
	if err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(output), "."+filepath.Base(output)+".part-*")
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "choose a folder that exists and that you may write to", "the output")
	}
	tmp.Close()
	r.Into = tmp.Name()
	tree := r.Into + daemon.FolderSuffix
	defer func() {
		os.Remove(r.Into)
		os.RemoveAll(tree) // gone after a rename
	}()
	if got, err = s.Get(ctx, r); err != nil {
		return nil, err
	}
	from := r.Into
	if got.Directory {
		if !fresh {
			return nil, fault.New(fault.Failed, "choose another name", "%s is a file, and the object is a directory", output)
		}
		from = tree
	}
	if err := commit(from, output, fresh); err != nil {
		return nil, fault.Wrap(fault.Failed, err, "choose another name", "the output")
	}
	return got, disk.SyncFolder(filepath.Dir(output))
}

package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func lsCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the objects of this home", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				l, err := s.List(ctx)
				if err != nil {
					return err
				}
				return e.print(l, func(w io.Writer) { printObjects(w, l) })
			})
		},
	}
}

func printObjects(w io.Writer, l *api.Objects) {
	for _, o := range l.Objects {
		name := plain(o.Name)
		if o.Kind == "directory" {
			name += "/"
		}
		if o.SupersededBy != "" {
			name += "  (superseded)"
		}
		if o.Pinned {
			name += "  (pinned)"
		}
		fmt.Fprintf(w, "%s  %9s  %-8s  %s\n", o.Address, humanize.IBytes(uint64(o.Size)), o.State, name)
	}
}

func infoCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "info ADDRESS", Short: "What this home knows about an object", Args: cobra.ExactArgs(1),
		Long: `Show what this home knows about an object: name, size and state, whose it is, its
version and its parts. Of your own objects it shows the labels with classification,
retention and residency too; of others' they are not known here. A legal hold is shown
where this home has heard of it: "cerebrum hold list" asks the validators.`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				i, err := s.Info(ctx, api.InfoRequest{Address: args[0]})
				if err != nil {
					return err
				}
				return e.print(i, func(w io.Writer) { printInfo(w, i) })
			})
		},
	}
}

func printInfo(w io.Writer, i *api.Info) {
	row := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%-9s %s\n", k, plain(v))
		}
	}
	row("address", i.Address)
	row("name", i.Name)
	row("kind", i.Kind)
	row("type", i.MediaType)
	row("size", fmt.Sprintf("%d bytes, %d stored", i.Size, i.Stored))
	row("state", i.State)
	if i.Pinned {
		row("pinned", "yes")
	}
	row("created", i.Created)
	if i.Classification != nil {
		row("class", strconv.Itoa(*i.Classification))
	}
	for _, k := range slices.Sorted(maps.Keys(i.Labels)) {
		row("label", k+"="+i.Labels[k])
	}
	if i.Retention != nil {
		row("retention", i.Retention.Says)
	}
	row("residency", strings.Join(i.Residency, ", "))
	for _, h := range i.Holds {
		row("hold", h)
	}
	row("owner", i.Owner)
	row("network", i.Network)
	row("lineage", fmt.Sprintf("%s, version %d", i.Lineage, i.Sequence))
	row("previous", i.Previous)
	row("newer", i.SupersededBy)
	for _, s := range i.Scopes {
		row("scope", s)
	}
	row("key", i.KeyID)
	row("file", i.File)
	row("header", i.Header)
	row("payload", i.Payload)
	if o := i.Origin; o != nil {
		row("release", o.Method)
		row("source", "sha256 "+o.Source)
		row("report", o.Report)
	}
}

func verifyCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "verify [ADDRESS]", Short: "Check blocks against their CIDs and manifests against signatures", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				var r api.VerifyRequest
				if len(args) > 0 {
					r.Address = args[0]
				}
				v, err := s.Verify(ctx, r)
				if err != nil {
					return err
				}
				err = e.print(v, func(w io.Writer) {
					fmt.Fprintf(w, "%d checked, %d bad\n", v.Checked, len(v.Bad))
					for _, b := range v.Bad {
						fmt.Fprintln(w, b)
					}
				})
				if err == nil && len(v.Bad) > 0 {
					err = fault.New(fault.Integrity, "import the objects again from a good copy", "%d of %d blocks and manifests are corrupt", len(v.Bad), v.Checked)
				}
				return err
			})
		},
	}
}

func exportCommand(e *Env) *cobra.Command {
	var age, car string
	var to []string
	var force bool
	c := &cobra.Command{
		Use: "export ADDRESS --age FILE | --car FILE", Short: "Leave with a file that stock tools read", Args: cobra.ExactArgs(1),
		Long: `Write an object of yours as a plain age file, or as a CAR file whose second root
is that age file. Stock age opens it with the identity that
"cerebrum id export --age-identity" prints.`,
		RunE: func(c *cobra.Command, args []string) error {
			r := api.ExportRequest{Address: args[0], Format: "age", To: to}
			out := age
			if car != "" {
				r.Format, out = "car", car
			}
			if (age == "") == (car == "") {
				return fault.New(fault.Usage, "", "name one of --age FILE and --car FILE")
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				x, err := exportFile(ctx, s, r, out, force)
				if err != nil {
					return err
				}
				return e.print(x, func(w io.Writer) { fmt.Fprintf(w, "%s, %s\n", plain(x.File), humanize.IBytes(uint64(x.Size))) })
			})
		},
	}
	f := c.Flags()
	outputFlag(c, &age, "age", "", "write an age file")
	outputFlag(c, &car, "car", "", "write a CAR file")
	f.StringArrayVar(&to, "recipient", nil, "encrypt to these age recipients instead of the owner")
	f.BoolVar(&force, "force", false, "replace an existing file")
	return c
}

func exportFile(ctx context.Context, s api.Service, r api.ExportRequest, output string, force bool) (x *api.Exported, err error) {
	if output, err = absolute(output); err != nil {
		return nil, err
	}
	err = intoFile(output, force, func(tmp string) error {
		r.Into = tmp
		x, err = s.Export(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	x.File = output
	return x, nil
}

func importCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "import FILE.car", Short: "Hold the object of a CAR file", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := absolute(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				i, err := s.Import(ctx, api.ImportRequest{Path: path})
				if err != nil {
					return err
				}
				return e.print(i, func(w io.Writer) { fmt.Fprintln(w, i.Address) })
			})
		},
	}
}

package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"cerebrum.dev/cerebrum/acl/audit/ocsf"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func recordsCommand(e *Env) *cobra.Command {
	var asCSV bool
	c := &cobra.Command{
		Use: "records", Short: "A register of processing, from manifests, grants and the log", Args: cobra.NoArgs,
		Long: `Write a register like that of Article 30 GDPR, as far as a node can know it: for each
object its owner, labels, purposes, recipients, regions, retention, reads, and for all
the technical measures. Who has no grant any more and had one, or read the object as the
log here knows, is a past recipient, with the time of the last read known here. What was
erased stays in the register, with the time. It says what people have to add, and what
cannot be known here.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if asCSV && e.JSON {
				return fault.New(fault.Usage, "", "name one of --csv and --json")
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				r, err := s.ProcessingRecords(ctx)
				if err != nil {
					return err
				}
				if asCSV {
					return writeRecords(e.Out, r)
				}
				return e.print(r, func(w io.Writer) { printRecords(w, r) })
			})
		},
	}
	c.Flags().BoolVar(&asCSV, "csv", false, "as CSV; no cell is a formula")
	return c
}

// columns are the cells of a record with their names. Programs read the CSV by place, so
// what came later stands after the measures, see [laterColumns].
func columns(r *api.ProcessingRecord) [][2]string {
	return [][2]string{
		{"object", r.Object}, {"name", r.Name}, {"controller", r.Controller}, {"categories", strings.Join(r.Categories, "; ")},
		{"classification", strconv.Itoa(r.Classification)}, {"purposes", strings.Join(r.Purposes, "; ")},
		{"recipients", strings.Join(r.Recipients, "; ")}, {"regions", strings.Join(r.Regions, "; ")}, {"transfers", r.Transfers},
		{"retention", r.Retention}, {"created", r.Created}, {"versions", strconv.Itoa(r.Versions)},
		{"reads known here", strconv.Itoa(r.Releases)}, {"last access", r.LastAccess},
	}
}

// laterColumns are further cells of a record with their names; new ones go to the end.
func laterColumns(r *api.ProcessingRecord) [][2]string {
	var past []string
	for _, p := range r.PastRecipients {
		read := "no read known here"
		if p.LastRead != "" {
			read = "last read known here " + p.LastRead
		}
		past = append(past, p.Identity+" ("+read+")")
	}
	erased := r.ErasedAt
	if r.Erased && erased == "" {
		erased = "at a time that is not known here"
	}
	return [][2]string{{"past recipients", strings.Join(past, "; ")}, {"erased", erased}}
}

func writeRecords(out io.Writer, rs *api.ProcessingRecords) error {
	w := csv.NewWriter(out)
	var head []string
	for _, c := range columns(&api.ProcessingRecord{}) {
		head = append(head, c[0])
	}
	head = append(head, "measures")
	for _, c := range laterColumns(&api.ProcessingRecord{}) {
		head = append(head, c[0])
	}
	w.Write(head)
	for _, r := range rs.Records {
		var cells []string
		for _, c := range columns(&r) {
			cells = append(cells, ocsf.Guard(c[1]))
		}
		cells = append(cells, ocsf.Guard(strings.Join(rs.Measures, "; ")))
		for _, c := range laterColumns(&r) {
			cells = append(cells, ocsf.Guard(c[1]))
		}
		w.Write(cells)
	}
	w.Flush()
	return w.Error()
}

func printRecords(w io.Writer, rs *api.ProcessingRecords) {
	fmt.Fprintf(w, "register of processing of the node %s, made %s\n", rs.Node, rs.Made)
	for _, r := range rs.Records {
		fmt.Fprintln(w)
		for _, c := range append(columns(&r), laterColumns(&r)...) {
			if c[1] != "" {
				fmt.Fprintf(w, "%-17s %s\n", c[0], plain(c[1]))
			}
		}
	}
	fmt.Fprintln(w)
	listed(w, "measures", rs.Measures)
	listed(w, "to be added by people, or not known here", rs.NotKnown)
}

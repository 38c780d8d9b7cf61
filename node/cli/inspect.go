package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"cerebrum.dev/cerebrum/node/anonymize/detect"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// inspected is what the command found out. No value of the table is in it.
type inspected struct {
	Rows    int               `json:"rows"`
	Columns []inspectedColumn `json:"columns"`
	// Quasi and Sensitive are proposed for a release, and Command makes it.
	Quasi     []string `json:"quasi"`
	Sensitive []string `json:"sensitive"`
	Drop      []string `json:"drop"`
	Hash      []string `json:"hash"`
	Redact    []string `json:"redact"`
	ZIP3      []string `json:"zip3"`
	Year      []string `json:"year"`
	Ages      []string `json:"ages_to_89"`
	Command   string   `json:"command"`
	Notes     []string `json:"notes"`
}

type inspectedColumn struct {
	Name       string   `json:"name"`
	Role       string   `json:"role"`
	Kind       string   `json:"kind,omitempty"`
	Share      float64  `json:"share,omitempty"` // of the cells that are of the kind
	Separation float64  `json:"separation"`
	Unique     float64  `json:"unique"`
	Action     string   `json:"action"`
	Why        []string `json:"why"`
}

var presets = map[string]detect.Preset{"general": detect.General, "safe-harbor": detect.SafeHarbor}

func anonymizeInspect(e *Env) *cobra.Command {
	var reading readingFlags
	var preset string
	c := &cobra.Command{
		Use: "inspect IN", Short: "Find what identifies people, and propose a release", Args: cobra.ExactArgs(1),
		Long: `Look at every cell for e-mail addresses, telephone, card, account and national numbers,
addresses of machines, dates of birth and coordinates, all of which are validated; rank
the columns by how well they tell people apart; and propose a command.

A person reads the proposal, changes it and is responsible for it. Names of people
have no pattern: columns of them are known by the column's name only.`,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := reading.options()
			if err != nil {
				return err
			}
			p, ok := presets[preset]
			if !ok {
				return fault.New(fault.Usage, "the presets are general and safe-harbor", "there is no preset %q", preset)
			}
			i, err := e.inspect(c.Context(), args[0], o, p)
			if err != nil {
				return err
			}
			return e.print(i, func(w io.Writer) { printInspected(w, i) })
		},
	}
	c.Flags().StringVar(&preset, "preset", "general", "general, or safe-harbor for the eighteen identifiers of HIPAA")
	reading.add(c)
	return c
}

func (e *Env) inspect(ctx context.Context, path string, o tabular.Options, preset detect.Preset) (*inspected, error) {
	f, s, err := publish.Open(path, o)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for _, c := range s.Columns() {
		names = append(names, c.Name)
	}
	in, err := detect.NewInspector(names, detect.Config{Now: e.Now()})
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "", "the table")
	}
	if _, err := s.Each(ctx, func(r *tabular.Row) error { return in.Add(r.Cells) }); err != nil {
		return nil, publish.Told(err)
	}
	report := in.Report()
	if report.Rows == 0 {
		return nil, fault.New(fault.Failed, "give it rows below the header", "the table has no rows")
	}
	return proposed(path, report, report.Propose(preset)), nil
}

func proposed(path string, r *detect.Report, plan *detect.Plan) *inspected {
	out := &inspected{Rows: r.Rows, Quasi: list(plan.Quasi), Sensitive: list(plan.Sensitive), Drop: []string{}, Hash: []string{},
		Redact: []string{}, ZIP3: []string{}, Year: []string{}, Ages: []string{}, Notes: list(plan.Notes)}
	for i, step := range plan.Steps {
		c := r.Columns[i]
		column := inspectedColumn{Name: c.Name, Role: step.Role.String(), Separation: c.Ranking.Separation, Unique: c.Ranking.Unique,
			Action: step.Action.String(), Why: list(step.Why)}
		if c.Kind != detect.None {
			column.Kind, column.Share = c.Kind.String(), c.Share
		}
		out.Columns = append(out.Columns, column)
		switch step.Action {
		case detect.Drop:
			out.Drop = append(out.Drop, c.Name)
		case detect.Pseudonymise:
			out.Hash = append(out.Hash, c.Name)
		case detect.RedactText:
			out.Redact = append(out.Redact, c.Name)
		case detect.FirstThree:
			out.ZIP3 = append(out.ZIP3, c.Name)
		case detect.YearOnly:
			out.Year = append(out.Year, c.Name)
		case detect.AgesTo89:
			out.Ages = append(out.Ages, c.Name)
		}
	}
	out.Command = out.command(path)
	return out
}

func list(names []string) []string { return append([]string{}, names...) }

// command is what makes the release that is proposed, or nothing if no column is a
// quasi-identifier.
func (i *inspected) command(path string) string {
	if len(i.Quasi) == 0 {
		return ""
	}
	ext := filepath.Ext(path)
	line := []string{"cerebrum anonymize", shellWord(path), "-o", shellWord(strings.TrimSuffix(path, ext) + ".release" + ext)}
	for _, f := range []struct {
		name    string
		columns []string
	}{{"--quasi", i.Quasi}, {"--sensitive", i.Sensitive}, {"--drop", i.Drop}, {"--hash", i.Hash},
		{"--redact", i.Redact}, {"--zip3", i.ZIP3}, {"--year", i.Year}, {"--ages-to-89", i.Ages}} {
		if len(f.columns) > 0 {
			line = append(line, f.name, shellWord(csvLine(f.columns)))
		}
	}
	line = append(line, "--k 5")
	if len(i.Sensitive) > 0 {
		line = append(line, "--l 2")
	}
	return strings.Join(line, " ")
}

// csvLine is how a flag takes several columns.
func csvLine(columns []string) string {
	out := make([]string, len(columns))
	for i, c := range columns {
		if out[i] = c; strings.ContainsAny(c, ",\"\n") {
			out[i] = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
	}
	return strings.Join(out, ",")
}

// shellWord quotes a word for a shell where it needs it.
func shellWord(s string) string {
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:+@", r) {
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}

func printInspected(w io.Writer, i *inspected) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "column\tis\tkind\ttells apart\tproposed")
	for _, c := range i.Columns {
		kind := "-"
		if c.Kind != "" {
			kind = fmt.Sprintf("%s (%.0f %%)", c.Kind, 100*c.Share)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f %%\t%s\n", plain(c.Name), c.Role, kind, 100*c.Separation, c.Action)
	}
	t.Flush()
	for _, n := range i.Notes {
		fmt.Fprintf(w, "\nnote: %s", plain(n))
	}
	if len(i.Notes) > 0 {
		fmt.Fprintln(w)
	}
	if i.Command != "" {
		fmt.Fprintf(w, "\n%s\n", plain(i.Command))
	}
}

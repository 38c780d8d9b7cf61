package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

// verified is the JSON of a report.
type verified struct {
	Holds       bool              `json:"holds"`
	Format      string            `json:"format"`
	Origin      string            `json:"origin"`
	Peer        string            `json:"peer"`
	Identity    string            `json:"identity,omitempty"`
	Role        string            `json:"role,omitempty"`
	Validator   int               `json:"validator,omitempty"`
	Network     string            `json:"network,omitempty"`
	NetworkName string            `json:"network_name,omitempty"`
	Anchored    bool              `json:"anchored"`
	Checkpoint  verifiedHead      `json:"checkpoint"`
	First       int64             `json:"first"`
	Entries     int64             `json:"entries"`
	From        string            `json:"from,omitempty"`
	To          string            `json:"to,omitempty"`
	Disclosures verifiedDisclosed `json:"disclosures"`
	Known       int               `json:"known"`    // checkpoints that were kept, from which the log goes on
	Receipts    []string          `json:"receipts"` // ids of those that it lives up to
	Proves      []string          `json:"proves"`
	NotProved   []string          `json:"not_proved"`
}

type verifiedHead struct {
	Size       int64    `json:"size"`
	Root       string   `json:"root"`
	Witnesses  []int    `json:"witnesses"` // validators, from 1
	Of         int      `json:"of"`        // that could be witnesses
	Fresh      string   `json:"fresh,omitempty"`
	AgeSeconds *float64 `json:"age_seconds"` // null: nobody but the log says when it was made
}

type verifiedDisclosed struct {
	Events   int64 `json:"events"`
	Opened   int64 `json:"opened"`
	Claims   int64 `json:"claims"`
	Erased   int64 `json:"erased"`
	Lost     int64 `json:"lost"`
	Withheld int64 `json:"withheld"`
}

func (e *Env) printReport(r *evidence.Report) error {
	now := e.Now()
	o := r.Owner
	out := verified{
		Holds: true, Format: r.Format, Origin: r.Origin, Peer: o.Peer.String(), Validator: o.Seat, NetworkName: plain(o.Name), Anchored: o.Anchored,
		Checkpoint: verifiedHead{Size: r.Checkpoint.N, Root: r.Root(), Witnesses: []int{}, Of: r.Witnesses()},
		First:      r.First, Entries: r.Entries(), Proves: r.Proves(now), NotProved: r.NotProved(),
		Disclosures: verifiedDisclosed{r.Events, r.Shown, r.Claims, r.Erased, r.Lost, r.Withheld()},
		Known:       r.Known, Receipts: []string{},
	}
	for _, k := range r.Kept {
		out.Receipts = append(out.Receipts, k.ID.String())
	}
	if o.Network != (statement.ID{}) {
		out.Network = o.Network.String()
	}
	if o.Role != 0 {
		out.Role, out.Identity = o.Role.String(), o.Identity.String()
	}
	for _, c := range r.Cosigned {
		out.Checkpoint.Witnesses = append(out.Checkpoint.Witnesses, c.Validator)
	}
	if at := r.Fresh(); !at.IsZero() {
		age := now.Sub(at).Seconds()
		out.Checkpoint.Fresh, out.Checkpoint.AgeSeconds = at.Format(time.RFC3339), &age
	}
	if r.Events > 0 {
		out.From, out.To = r.From.Format(time.RFC3339Nano), r.To.Format(time.RFC3339Nano)
	}
	return e.print(out, func(w io.Writer) { printProven(w, out.Proves, out.NotProved, out.Network, out.Anchored) })
}

func printProven(w io.Writer, proves, not []string, network string, anchored bool) {
	var b bytes.Buffer
	fmt.Fprintln(&b, "it holds. Proven is:")
	for _, s := range proves {
		fmt.Fprintf(&b, "  %s\n", plain(s))
	}
	fmt.Fprintln(&b, "Not proven is:")
	for _, s := range not {
		fmt.Fprintf(&b, "  %s\n", plain(s))
	}
	if !anchored && network != "" {
		fmt.Fprintf(&b, "anchor not checked: %s\n", network)
	}
	w.Write(b.Bytes()) // like print, whose output nobody may read
}

// flaw is why a file or folder does not hold.
type flaw struct {
	path string
	error
}

func (f *flaw) Unwrap() error { return f.error }

// refuted is the JSON of evidence that does not hold.
type refuted struct {
	Holds    bool   `json:"holds"`    // false
	Evidence string `json:"evidence"` // the file or folder that does not hold
	Error    string `json:"error"`
	Hint     string `json:"hint,omitempty"`
	File     string `json:"file,omitempty"`  // in a folder
	Entry    *int64 `json:"entry,omitempty"` // the first that is wrong or missing
	Byte     *int64 `json:"byte,omitempty"`  // where it stands in a bundle
}

// printFlaw prints as JSON that evidence does not hold. Of what could not be read, or was
// not looked at, nobody knows that: such errors have no report.
func (e *Env) printFlaw(err error) error {
	var in *flaw
	if !e.JSON || !errors.As(err, &in) {
		return nil
	}
	f := fault.Of(err)
	out := refuted{Evidence: in.path, Error: f.Message, Hint: f.Hint}
	var at *audit.TamperError
	if errors.As(err, &at) {
		if at.Index >= 0 {
			out.Entry = &at.Index
		}
		if at.Offset >= 0 {
			out.Byte = &at.Offset
		}
		if at.File != audit.BundleFile {
			out.File = at.File
		}
	}
	return json.NewEncoder(e.Out).Encode(out)
}

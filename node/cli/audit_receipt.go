package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"cerebrum.dev/cerebrum/acl/audit/evidence"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/quorum"
	"github.com/spf13/cobra"
)

func auditReceipts(e *Env) *cobra.Command {
	var r api.ReceiptsRequest
	c := &cobra.Command{
		Use: "receipts", Short: "What validators promised about the requests of this home", Args: cobra.NoArgs,
		Long: `List the receipts that validators gave this home: for each key that was released
or denied, and for each order to erase, a signed promise that it stands in the
validator's log. "audit receipt" has the validator keep the promise.

A state is promised, open (nobody asked for the proof yet), proven, or broken: then
the validator answered and could not prove what it signed, and the receipt is
evidence against it.

A home keeps 10,000 receipts. Where there are more, proven ones give way first, then
those that nobody asked a proof for, the oldest first, and broken ones last.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				l, err := s.Receipts(ctx, r)
				if err != nil {
					return err
				}
				return e.print(l, func(w io.Writer) {
					for i := range l.Receipts {
						printReceipt(w, &l.Receipts[i])
					}
					if l.Damaged > 0 {
						fmt.Fprintf(e.Err, "not listed: %s on this disk; a backup of this home may have what was there\n", counted(l.Damaged, "damaged receipt", "damaged receipts"))
					}
					switch {
					case len(l.Receipts) > 0 || e.Quiet:
					case r.Object != "":
						fmt.Fprintf(e.Err, "no receipt here is about %s\n", plain(r.Object))
					default:
						fmt.Fprintln(e.Err, "no validator has given this home a receipt")
					}
				})
			})
		},
	}
	c.Flags().StringVar(&r.Object, "object", "", "only of requests for this address, and of orders to erase it")
	return c
}

func printReceipt(w io.Writer, r *api.Receipt) {
	who := "a former validator"
	if r.Validator > 0 {
		who = fmt.Sprintf("validator %d", r.Validator)
	}
	fmt.Fprintf(w, "%s  %s  %-8s  %s %s  by %s, entry %d", r.ID, r.Time, r.State, r.Action, r.Outcome, who, r.First)
	for i, o := range r.Objects {
		if i == 2 {
			fmt.Fprintf(w, " and %d more", len(r.Objects)-i)
			break
		}
		fmt.Fprintf(w, " %s", plain(o))
	}
	fmt.Fprintln(w)
}

func auditReceipt(e *Env) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "receipt ID -o FILE", Short: "Write a receipt with its proof, for an auditor", Args: cobra.ExactArgs(1),
		Long: `Ask the validator that made a receipt for the proof that its entry stands in its
log, and write both to FILE, with the network's committee records and what was asked
for. "cerebrum audit verify FILE" verifies it without a network. Where the validator
cannot be asked, FILE has the receipt alone.`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				r, err := s.Receipt(ctx, api.ReceiptRequest{ID: args[0]})
				if err != nil {
					return err
				}
				if err := writeNew(output, r.File); err != nil {
					return err
				}
				r.File = nil
				if err := e.print(r.Receipt, func(w io.Writer) { printReceipt(w, &r.Receipt) }); err != nil {
					return err
				}
				switch {
				case r.State == "broken":
					return fault.New(fault.Integrity, "keep "+plain(output)+", and tell whoever runs the network", "the receipt is evidence against its validator: %s", plain(r.Says))
				case r.Says != "" && !e.Quiet:
					fmt.Fprintf(e.Err, "without a proof: %s\n", plain(r.Says))
				}
				return nil
			})
		},
	}
	outputFlag(c, &output, "output", "o", "the new file to write")
	c.MarkFlagRequired("output")
	return c
}

// receiptIn reads a file where it has a receipt, and nil where it does not.
func receiptIn(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, exportedHint, "the evidence")
	}
	defer f.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	if !evidence.IsReceipt(head[:n]) {
		return nil, nil
	}
	if err != nil {
		return head[:n], nil // shorter than any receipt
	}
	rest, err := io.ReadAll(io.LimitReader(f, evidence.MaxReceipt))
	return append(head, rest...), err
}

// verifiedReceipt is the JSON of a receipt's report.
type verifiedReceipt struct {
	Holds     bool     `json:"holds"`
	Format    string   `json:"format"`
	ID        string   `json:"id"`
	Validator int      `json:"validator"`
	Peer      string   `json:"peer"`
	Network   string   `json:"network"`
	Anchored  bool     `json:"anchored"`
	Action    string   `json:"action"`
	Outcome   string   `json:"outcome"`
	For       string   `json:"for"`
	First     int64    `json:"first"`
	Entries   int      `json:"entries"`
	Time      string   `json:"time"`
	By        string   `json:"by"`
	Proved    bool     `json:"proved"`
	Overdue   bool     `json:"overdue"`
	Witnesses []int    `json:"witnesses"`
	Proves    []string `json:"proves"`
	NotProved []string `json:"not_proved"`
}

// verifyReceipt verifies a receipt and says what it proves.
func (e *Env) verifyReceipt(path string, raw []byte, x evidence.Expect) error {
	r, err := evidence.VerifyReceipt(raw, quorum.RequestDigest, x)
	if err != nil {
		return fault.Wrap(fault.Integrity, &flaw{path, err}, "do not rely on it; ask whoever sent it for the receipt again", "%s does not hold", plain(path))
	}
	now, b := e.Now(), r.Receipt
	out := verifiedReceipt{
		Holds: true, Format: "receipt", ID: r.ID.String(), Validator: r.Owner.Seat, Peer: r.Owner.Peer.String(), Network: r.Owner.Network.String(), Anchored: r.Owner.Anchored,
		Action: string(b.Action), Outcome: b.Outcome().String(), For: b.For.String(), First: b.First, Entries: b.Entries(),
		Time: time.UnixMilli(b.Time).UTC().Format(time.RFC3339), By: time.UnixMilli(b.By).UTC().Format(time.RFC3339),
		Proved: r.Proved, Overdue: r.Overdue(now), Witnesses: []int{}, Proves: r.Proves(), NotProved: r.NotProved(now),
	}
	for _, c := range r.Cosigned {
		out.Witnesses = append(out.Witnesses, c.Validator)
	}
	return e.print(out, func(w io.Writer) { printProven(w, out.Proves, out.NotProved, out.Network, out.Anchored) })
}

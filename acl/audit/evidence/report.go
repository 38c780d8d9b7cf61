package evidence

import (
	"encoding/hex"
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/audit/event"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Report is what verified evidence says. There is none of evidence that does not hold.
type Report struct {
	Format     string // bundle or tiles
	Owner      *Owner
	Origin     string // of the log
	Checkpoint audit.Checkpoint
	First      int64            // the first entry that is there
	Known      int              // checkpoints that the auditor kept, which the log lives up to
	Kept       []*ReceiptReport // receipts that the entries were held to with [Contradicts], and live up to
	Cosigned   []Cosignature
	Strangers  int // further signatures on the checkpoint, which prove nothing

	Events   int64     // entries that are events
	Notes    int64     // entries that are notes of the log itself, or of a later version
	Denied   int64     // events that tell of a refusal
	From, To time.Time // of the first and the last event, by the log's clock; zero: none

	Shown  int64 // events of which something is shown
	Claims int64 // that are shown
	Erased int64 // events with persons that were erased, by the owner's word
	Lost   int64 // events whose claims were lost, by the owner's word
	Gone   int64 // events of which nothing is left for one of these reasons
}

// count takes in an entry; l is nil where it is no event.
func (r *Report) count(l *event.Leaf) {
	if l == nil {
		r.Notes++
		return
	}
	at := time.UnixMilli(l.Time).UTC()
	if r.Events == 0 {
		r.From, r.To = at, at
	}
	if at.Before(r.From) {
		r.From = at
	}
	if at.After(r.To) {
		r.To = at
	}
	r.Events++
	if l.Outcome == event.Denied {
		r.Denied++
	}
}

// take takes in an entry with what is shown of it.
func (r *Report) take(e *Entry) {
	r.count(e.Leaf)
	if len(e.Claims) > 0 {
		r.Shown++
		r.Claims += int64(len(e.Claims))
	} else if e.Erased > 0 || e.Lost {
		r.Gone++
	}
	if e.Erased > 0 {
		r.Erased++
	}
	if e.Lost {
		r.Lost++
	}
}

// Entries is how many entries are there.
func (r *Report) Entries() int64 { return r.Checkpoint.N - r.First }

// Root is the root of the log at the checkpoint, in hexadecimal.
func (r *Report) Root() string { return hex.EncodeToString(r.Checkpoint.Hash[:]) }

// Witnesses is how many there could be: the validators but for the owner.
func (r *Report) Witnesses() int { return r.Owner.others() }

// Withheld is how many events nothing is shown of that was not erased or lost, by the
// owner's word.
func (r *Report) Withheld() int64 { return r.Events - r.Shown - r.Gone }

// Fresh is the newest time at which a witness saw the checkpoint, by its clock; zero
// where none did. Nobody but the log itself says when a checkpoint without
// cosignatures was made.
func (r *Report) Fresh() time.Time {
	if len(r.Cosigned) == 0 {
		return time.Time{}
	}
	return r.Cosigned[len(r.Cosigned)-1].Time
}

// Whose says in words whose log it is.
func (o *Owner) Whose() string {
	of := "of the peer " + o.Peer.String()
	switch {
	case o.Seat > 0 && o.Listed:
		of = fmt.Sprintf("of validator %d (peer %s)", o.Seat, o.Peer)
	case o.Seat > 0:
		of = fmt.Sprintf("of the peer %s, which was validator %d", o.Peer, o.Seat)
	case o.Role == trust.RoleNode:
		of = fmt.Sprintf("of the node %s, which the identity %s operates", o.Peer, o.Identity)
	case o.Role != 0:
		of = fmt.Sprintf("of the %s %s, which the identity %s operates", o.Role, o.Peer, o.Identity)
	}
	if o.Network != (statement.ID{}) {
		of += fmt.Sprintf(", in the network %s (%s)", event.Clean(o.Name), o.Network)
	}
	return of
}

// Proves says in sentences what the evidence proves.
func (r *Report) Proves(now time.Time) []string {
	out := []string{"this is the log " + r.Owner.Whose()}
	out = append(out, fmt.Sprintf("all its entries from %d to %d are here%s: none was changed, moved, left out or put in since the log signed its checkpoint of %s",
		r.First, r.Checkpoint.N-1, r.span(), counted(r.Checkpoint.N, "entry", "entries")))
	if r.Entries() == 0 {
		out[1] = fmt.Sprintf("the log had %s when it signed its checkpoint", counted(r.Checkpoint.N, "entry", "entries"))
	}
	if n := len(r.Cosigned); n > 0 {
		out = append(out, fmt.Sprintf("%d of %d other validators have seen that checkpoint and no other history of the log, the last one at %s (%s ago)",
			n, r.Owner.others(), stamp(r.Fresh()), age(now.Sub(r.Fresh()))))
	}
	if r.Known > 0 {
		out = append(out, "the log goes on from the checkpoint that you kept")
	}
	for _, k := range r.Kept {
		what := "entry %s is what the receipt %s promised"
		if k.Receipt.Entries() > 1 {
			what = "the entries %s are what the receipt %s promised"
		}
		out = append(out, fmt.Sprintf(what, span(k.Receipt.First, k.Receipt.Entries()), k.ID))
	}
	if r.Shown > 0 {
		out = append(out, fmt.Sprintf("of %s about, and it is what was logged (%s)",
			counted(r.Shown, "event is shown what it was", "events is shown what they were"), counted(r.Claims, "claim", "claims")))
	}
	return out
}

func (r *Report) span() string {
	if r.Events == 0 {
		return ""
	}
	return fmt.Sprintf(", from %s to %s by its own clock", stamp(r.From), stamp(r.To))
}

// NotProved says in sentences what the evidence does not prove.
func (r *Report) NotProved() []string {
	var out []string
	if r.Owner.Network == (statement.ID{}) {
		out = append(out, "which network the log is of: no committee record came with it")
	} else if !r.Owner.Anchored {
		out = append(out, "that the network is yours: name it with --network")
	} else if r.Owner.Role == 0 {
		out = append(out, "that the peer is a member of the network: no membership came with it")
	}
	if len(r.Cosigned) == 0 {
		out = append(out, "that nobody was shown another history of the log, and when it was signed: no witness cosigned the checkpoint")
	}
	if r.First > 0 {
		out = append(out, fmt.Sprintf("what the %s fixed when the checkpoint was signed, and not here",
			counted(r.First, "entry before it says: it was", fmt.Sprintf("entries before %d say: they were", r.First))))
	}
	if n := r.Withheld(); n > 0 {
		out = append(out, fmt.Sprintf("what %s about, beyond time, action, outcome and rule: nothing of that was handed over, or there was nothing to say",
			counted(n, "event was", "events were")))
	}
	if r.Erased > 0 {
		out = append(out, fmt.Sprintf("who %s in part or in whole: by the owner's word those persons were erased", counted(r.Erased, "event concerns", "events concern")))
	}
	if r.Lost > 0 {
		out = append(out, fmt.Sprintf("what %s about: by the owner's word that was lost", counted(r.Lost, "event was", "events were")))
	}
	return append(out, "what happened after the checkpoint, that everything that happened was logged, and that the log's clock was right")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// age is a duration in words for people.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

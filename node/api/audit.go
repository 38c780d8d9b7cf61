package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	"cerebrum.dev/cerebrum/node/fault"
)

// Audit are the verbs of the audit log.
type Audit interface {
	// AuditExport writes what an offline auditor needs. It is logged like other acts.
	AuditExport(ctx context.Context, r AuditExportRequest) (*AuditExported, error)
	// AuditPrune removes old entries from the log once they are archived. It is logged
	// before it is done.
	AuditPrune(ctx context.Context, r AuditPruneRequest) (*AuditPruned, error)
	// AuditLog writes entries to w in the format that is asked for. With r.Follow it
	// goes on with new ones until ctx ends, which is no error then.
	AuditLog(ctx context.Context, r AuditLogRequest, w io.Writer) error
	// Receipts lists what validators gave this node for its requests: promises that
	// their answers stand in their logs.
	Receipts(ctx context.Context, r ReceiptsRequest) (*ReceiptList, error)
	// Receipt is one of them, with the proofs that its validator gives for it where it
	// can be asked.
	Receipt(ctx context.Context, r ReceiptRequest) (*ReceiptFile, error)
}

// Syslog is how far the audit log was sent to the syslog server of the configuration.
type Syslog struct {
	Target         string  `json:"target"`
	Behind         int64   `json:"behind"`             // entries still to be sent, those that are sent once more among them
	LeftOut        int64   `json:"left_out,omitempty"` // entries that were left out since the node started; a message in their place says which
	FailingSeconds float64 `json:"failing_seconds"`    // for how long it has failed; 0: it does not
	Stopped        bool    `json:"stopped,omitempty"`  // it could not begin
	Error          string  `json:"error,omitempty"`    // why it fails or could not begin
}

// ReceiptsRequest asks for receipts of requests for an object, or for all.
type ReceiptsRequest struct {
	Object string `json:"object,omitempty"` // address
}

// ReceiptList has the oldest first.
type ReceiptList struct {
	Receipts []Receipt `json:"receipts"`
	Damaged  int       `json:"damaged"` // kept here, cannot be read, and left out
}

// Receipt is a validator's promise in words.
type Receipt struct {
	ID        string   `json:"id"`
	Validator int      `json:"validator"` // from 1; 0: it is none any more
	Peer      string   `json:"peer"`
	Action    string   `json:"action"`
	Outcome   string   `json:"outcome"`
	Objects   []string `json:"objects"`        // addresses; of an order to erase the ids of those keys whose address is not known here
	Keys      []string `json:"keys,omitempty"` // ids of the keys that were to be erased
	Purpose   string   `json:"purpose,omitempty"`
	First     int64    `json:"first"` // entry in the validator's log
	Entries   int      `json:"entries"`
	Time      string   `json:"time"`
	By        string   `json:"by"`             // when the entry is to be under a checkpoint
	State     string   `json:"state"`          // promised, open, proven or broken
	Says      string   `json:"says,omitempty"` // why it is not proven
}

// ReceiptRequest names a receipt by its id or the beginning of it.
type ReceiptRequest struct {
	ID string `json:"id"`
}

// ReceiptFile is a receipt as a file that "audit verify" takes.
type ReceiptFile struct {
	Receipt
	File []byte `json:"file"`
}

// AuditExportRequest asks for an export of the log.
type AuditExportRequest struct {
	Into     string `json:"into"`               // absolute: a bundle's empty file, or the name of a folder that is not there yet
	Format   string `json:"format"`             // bundle or tiles
	Since    int64  `json:"since,omitempty"`    // Unix milliseconds; of a bundle: entries before it may be left out
	Withhold bool   `json:"withhold,omitempty"` // leave out what the entries are about
	Cosigned bool   `json:"cosigned,omitempty"` // end at the newest checkpoint that witnesses have signed
}

// AuditExported says what was exported.
type AuditExported struct {
	File       string `json:"file"` // path
	Format     string `json:"format"`
	Origin     string `json:"origin"`
	Size       int64  `json:"size"` // entries under the checkpoint
	First      int64  `json:"first"`
	Entries    int64  `json:"entries"` // that are in it
	Root       string `json:"root"`
	Witnesses  int    `json:"witnesses"` // other validators that cosigned the checkpoint
	Of         int    `json:"of"`        // so many that could have
	Network    string `json:"network,omitempty"`
	Disclosing bool   `json:"disclosures"`
	Lost       int64  `json:"lost,omitempty"`    // events in it whose disclosures are lost, which it says of them
	Damaged    int64  `json:"damaged,omitempty"` // those of them beside which stands what was not written with them
}

// AuditPruneRequest asks that entries be removed.
type AuditPruneRequest struct {
	Before     int64  `json:"before"`     // Unix milliseconds; only files of the log whose entries are all older go
	Checkpoint string `json:"checkpoint"` // signed note of the bundle in which they are archived
	// Ask removes nothing and only says whether a legal hold forbids it; there need be no
	// archive yet.
	Ask bool `json:"ask,omitempty"`
}

// AuditPruned says what was removed.
type AuditPruned struct {
	Removed int64 `json:"removed"` // entries
	First   int64 `json:"first"`   // the first entry that is left
}

// AuditLogRequest asks for entries of the log. Empty fields ask for any.
type AuditLogRequest struct {
	Object   string `json:"object,omitempty"`   // address or other id
	Identity string `json:"identity,omitempty"` // a contact, an id, or a name of this home: who acted, or for whom
	Action   string `json:"action,omitempty"`
	Outcome  string `json:"outcome,omitempty"`
	Since    int64  `json:"since,omitempty"` // Unix milliseconds
	Follow   bool   `json:"follow,omitempty"`
	Format   string `json:"format"` // words, json, csv or syslog
}

func auditVerbs(ending context.Context, turns chan struct{}, m *http.ServeMux, v Audit) {
	verb(m, "audit-export", v.AuditExport)
	verb(m, "audit-prune", v.AuditPrune)
	verb(m, "receipts", v.Receipts)
	verb(m, "receipt", v.Receipt)
	m.HandleFunc("POST /v1/audit-log-stream", streaming(turns, func(w http.ResponseWriter, r *http.Request) {
		var q AuditLogRequest
		if err := decodeBody(w, r, &q); err != nil {
			refuse(w, err)
			return
		}
		// Whoever follows the log must not keep the node from stopping.
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ending, cancel)()
		w.Header().Set("Trailer", ResultTrailer)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		out := &started{w: flushing{unpaced(w), http.NewResponseController(w)}}
		err := v.AuditLog(ctx, q, out)
		if err == nil && ending.Err() != nil && q.Follow {
			err = fault.New(fault.Unavailable, "start it again with `cerebrum run`", "the node stopped")
		}
		if err != nil && !out.yes {
			w.Header().Del("Trailer")
			refuse(w, fault.Of(err))
			return
		}
		end := ended{}
		if err != nil {
			end.Fault = fault.Of(err)
		}
		if raw, err := json.Marshal(end); err == nil {
			w.Header().Set(ResultTrailer, base64.StdEncoding.EncodeToString(raw))
		}
	}))
}

// ended is what the trailer of a stream without a result holds.
type ended struct {
	Fault *fault.Error `json:"fault,omitempty"`
}

// DecodeEnd reads the trailer of a stream without a result.
func DecodeEnd(trailer string) error {
	var end ended
	raw, err := base64.StdEncoding.DecodeString(trailer)
	if err != nil || json.Unmarshal(raw, &end) != nil {
		return fault.New(fault.Failed, "look at the node's log", "the node ended in the middle of its answer")
	}
	if end.Fault != nil {
		return end.Fault
	}
	return nil
}

// flushing sends what is written at once.
type flushing struct {
	io.Writer
	c *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}

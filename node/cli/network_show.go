package cli

import (
	"fmt"
	"io"
	"time"

	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

type networkResult struct {
	Network    string         `json:"network"`
	Name       string         `json:"name"`
	N          uint16         `json:"n"`
	F          uint16         `json:"f"`
	K          uint16         `json:"k"`
	T          uint16         `json:"t"`
	RootEpoch  uint64         `json:"root_epoch"`
	Version    uint64         `json:"version"`
	Record     string         `json:"record"`
	Expires    string         `json:"expires"`
	Expired    bool           `json:"expired"`
	Validators []string       `json:"validators"`
	Members    int            `json:"members"`
	Missing    []string       `json:"missing"`
	Records    []recordResult `json:"records"`
	Comes      []string       `json:"comes"`
	Goes       []string       `json:"goes"`
	Changes    []string       `json:"changes"`
	Pin        string         `json:"pin,omitempty"`
}

// recordResult is one record of the chain.
type recordResult struct {
	Record    string `json:"record"`
	RootEpoch uint64 `json:"root_epoch"`
	Version   uint64 `json:"version"`
	Skip      bool   `json:"skip,omitempty"`
	Expires   string `json:"expires"`
}

func describe(id statement.ID, r *trust.Record) recordResult {
	return recordResult{id.String(), r.RootEpoch, r.Version, r.Skip, time.Unix(r.Expires, 0).UTC().Format(time.RFC3339)}
}

// describeNetwork looks at a file whose last record may be a draft.
func describeNetwork(f *trust.File, now time.Time) (*networkResult, error) {
	bad := func(err error) (*networkResult, error) {
		return nil, fault.Wrap(fault.Integrity, err, "ask its sender for it again", "the network file")
	}
	r, id, missing, err := f.Draft()
	if err != nil {
		return bad(err)
	}
	out := &networkResult{
		Network: id.String(), Name: r.Name, N: r.Numbers.N, F: r.Numbers.F, K: r.Numbers.K, T: r.Numbers.T, RootEpoch: r.RootEpoch, Version: r.Version,
		Record: id.String(), Expires: describe(id, r).Expires, Expired: now.Unix() >= r.Expires, Members: len(f.Memberships),
		Missing: append([]string{}, missing...), Comes: []string{}, Goes: []string{}, Changes: []string{},
	}
	for _, v := range r.Validators {
		out.Validators = append(out.Validators, v.Identity.String())
	}
	if len(f.Records) > 1 {
		earlier := &trust.File{Format: f.Format, Records: f.Records[:len(f.Records)-1]}
		before, err := earlier.Committee()
		if err != nil {
			return bad(err)
		}
		out.Network = before.Network().String()
		for c, ok := before, true; ok; c, ok = c.Before() {
			out.Records = append([]recordResult{describe(c.ID(), &c.Record)}, out.Records...)
		}
		comes, goes, changes := difference(before, r)
		out.Comes, out.Goes, out.Changes = append(out.Comes, comes...), append(out.Goes, goes...), append(out.Changes, changes...)
	}
	out.Records = append(out.Records, describe(id, r))
	if len(f.Root) > 0 && len(missing) == 0 {
		chain, err := f.Chain() // which verifies the pin
		if err != nil {
			return bad(err)
		}
		pin, err := chain.VerifyPin(f.Root)
		if err != nil {
			return bad(err)
		}
		out.Pin = pin.Record.String()
	}
	return out, nil
}

func (e *Env) showNetwork(f *trust.File) error {
	out, err := describeNetwork(f, e.Now())
	if err != nil {
		return err
	}
	return e.print(out, func(w io.Writer) { printNetwork(w, out) })
}

func printNetwork(w io.Writer, out *networkResult) {
	fmt.Fprintf(w, "network     %s\nname        %s\ncommittee   %d validators; %d sign, %d shares open, %d may fail\n",
		out.Network, plain(out.Name), out.N, out.K, out.T, out.F)
	over := ""
	if out.Expired {
		over = " (over: nothing is granted or released until `cerebrum network rotate`)"
	}
	fmt.Fprintf(w, "expires     %s%s\nmembers     %d\n", out.Expires, over, out.Members)
	for i, v := range out.Validators {
		fmt.Fprintf(w, "validator %d %s\n", i+1, v)
	}
	for _, r := range out.Records {
		skip := ""
		if r.Skip {
			skip = ", a skip"
		}
		fmt.Fprintf(w, "record      %d.%d %s until %s%s\n", r.RootEpoch, r.Version, r.Record, r.Expires, skip)
	}
	for _, x := range []struct {
		what string
		list []string
	}{{"comes", out.Comes}, {"goes", out.Goes}, {"changes", out.Changes}} {
		if len(x.list) > 0 {
			fmt.Fprintf(w, "%-11s %s\n", x.what, words(x.list))
		}
	}
	if out.Pin != "" {
		fmt.Fprintf(w, "pinned      %s by the root keys\n", out.Pin)
	}
	if out.N == 1 {
		fmt.Fprintln(w, "one validator decides alone: it can read everything, and nothing works without it")
	}
	if len(out.Missing) > 0 {
		fmt.Fprintf(w, "a draft; signatures are missing: %s\n", words(out.Missing))
	}
}

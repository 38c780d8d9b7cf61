package cli

import (
	"bytes"
	"context"
	"fmt"

	"cerebrum.dev/cerebrum/crypto/envelope"
	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// A release that is shared has a label by which policies tell it from what it was made of.
const releaseLabel, releaseValue = "release", "anonymised"

// shareFlags are for adding a release as an object.
type shareFlags struct {
	on     bool
	as     string
	labels []string
}

// shared is what became of it. The report is an object of its own.
type shared struct {
	*api.Added
	Report string `json:"report"` // address
}

func (s *shareFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&s.on, "share", false, "add the release as an object that names its source, method and report, and label it release=anonymised")
	f.StringVar(&s.as, "as", "", "the identity that owns it")
	f.StringArrayVar(&s.labels, "label", nil, "KEY=VALUE that validators' policy sees, with --share; classification=0..255")
}

func (s *shareFlags) check() error {
	if !s.on && (s.as != "" || len(s.labels) > 0) {
		return fault.New(fault.Usage, "add --share", "--as and --label are for a release that is shared")
	}
	labels, err := parseLabels(s.labels)
	if _, own := labels[releaseLabel]; own {
		return fault.New(fault.Usage, "choose another label", "the label %s is given by --share", releaseLabel)
	}
	return err
}

// share adds a release that is on the disk, and its report.
func (e *Env) share(ctx context.Context, a *anonymizeFlags, r *report.Report) (*shared, error) {
	labels, err := parseLabels(a.share.labels)
	if err != nil {
		return nil, err
	}
	labels[releaseLabel] = releaseValue
	var text bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		return nil, err
	}
	out := &shared{}
	err = e.service(ctx, func(ctx context.Context, s api.Service) error {
		about, err := s.AddStream(ctx, api.AddRequest{As: a.share.as, Labels: labels, Name: r.Output.Name + ".report.json"}, &text)
		if err != nil {
			return err
		}
		out.Report = about.Address
		out.Added, err = e.addOne(ctx, s, a.job.Output, api.AddRequest{As: a.share.as, Labels: labels,
			Origin: &api.Origin{Source: r.Input.SHA256, Method: methodOf(r), Report: about.Address}})
		return err
	})
	if err != nil {
		f := fault.Of(err)
		return nil, fault.Wrap(f.Exit, err, f.Hint, "%s is written and not shared", a.job.Output)
	}
	return out, nil
}

// methodOf is the guarantee and how it was reached, as much of it as an object names.
func methodOf(r *report.Report) string {
	method := fmt.Sprintf("%s by coarsening %s", r.Guarantee, r.Parameters.Method)
	if len(method) > envelope.MaxOrigin { // models of very many columns: the report has them all
		method = fmt.Sprintf("%d guarantees by coarsening %s, see the report", len(r.Parameters.Models), r.Parameters.Method)
	}
	return method
}

package cli

import (
	"context"

	"cerebrum.dev/cerebrum/node/anonymize/report"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// shareFlags are for adding a release as an object.
type shareFlags struct {
	on     bool
	as     string
	labels []string
}

// shared is what became of it.
type shared struct {
	*api.Added
}

func (s *shareFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&s.on, "share", false, "add the release as an object that names its source, method and report")
	f.StringVar(&s.as, "as", "", "the identity that owns it")
	f.StringArrayVar(&s.labels, "label", nil, "KEY=VALUE that validators' policy sees, with --share")
}

func (s *shareFlags) check() error {
	if !s.on && (s.as != "" || len(s.labels) > 0) {
		return fault.New(fault.Usage, "add --share", "--as and --label are for a release that is shared")
	}
	_, err := parseLabels(s.labels)
	return err
}

// share adds a release that is on the disk.
func (e *Env) share(ctx context.Context, a *anonymizeFlags, r *report.Report) (*shared, error) {
	labels, err := parseLabels(a.share.labels)
	if err != nil {
		return nil, err
	}
	out := &shared{}
	err = e.service(ctx, func(ctx context.Context, s api.Service) error {
		out.Added, err = e.addOne(ctx, s, a.job.Output, api.AddRequest{As: a.share.as, Labels: labels})
		return err
	})
	return out, err
}

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"cerebrum.dev/cerebrum/acl/validator"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func retainCommand(e *Env) *cobra.Command {
	var r api.RetainRequest
	var until, expire string
	c := &cobra.Command{
		Use: "retain ADDRESS --until T", Short: "Keep an object longer, against orders to erase it", Args: cobra.ExactArgs(1),
		Long: `Change how long an object and its versions are kept, or everything in a directory.
Until then validators refuse to erase it. In the mode compliance nobody shortens that;
in the mode governance an owner with the role retention-override does, and erases.
--mode compliance makes a retention stricter, and cannot be taken back.`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Address = args[0]
			if r.Mode != "" && r.Mode != validator.RetainGovernance && r.Mode != validator.RetainCompliance {
				return fault.New(fault.Usage, "", "--mode is governance or compliance")
			}
			var err error
			if r.Until, err = e.toCome("--until", until); err != nil {
				return err
			}
			if expire != "" {
				if r.Expire, err = e.toCome("--expire-at", expire); err != nil {
					return err
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				kept, err := s.Retain(ctx, r)
				if err != nil {
					return err
				}
				return e.print(kept, func(w io.Writer) {
					fmt.Fprintf(w, "%s is retained until %s (%s)\n", kept.Address, kept.Until, kept.Mode)
					if !e.Quiet {
						fmt.Fprintf(e.Err, "%s; %d of %d validators have it so far, and the others get it later\n", counted(kept.Objects, "object", "objects"), kept.Deposits.Acknowledged, kept.Deposits.Of)
					}
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&until, "until", "", "the time before which it is not erased, such as 2031-12-31 or 90d")
	f.StringVar(&r.Mode, "mode", "", "governance or compliance; it stays as it is without")
	f.StringVar(&expire, "expire-at", "", "another time at which your node erases it")
	f.BoolVar(&r.ThisVersion, "this-version", false, "this version only, not the object's others")
	f.StringVar(&r.Reason, "reason", "", "why, for the log")
	c.MarkFlagRequired("until")
	return c
}

// toCome reads a time to come, in Unix seconds.
func (e *Env) toCome(flag, text string) (int64, error) {
	at, err := moment(text, e.Now())
	if err != nil || !at.After(e.Now()) {
		return 0, fault.New(fault.Usage, "", "%s is a time to come, such as 2031-12-31 or 90d", flag)
	}
	return at.Truncate(time.Second).Unix(), nil
}

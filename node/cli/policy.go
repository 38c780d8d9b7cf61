package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

func policyCommand(e *Env) *cobra.Command {
	c := &cobra.Command{
		Use: "policy", Short: "The rules that validators judge by",
		Long: `Look at the network's Cedar policies, try others, and change them. Policies are for
validators: all but check are for a validator's own node.

  somebody            cerebrum policy check FOLDER
  a validator         cerebrum policy propose FOLDER -o next.policy
  enough validators   cerebrum policy sign next.policy
  one of them         cerebrum policy adopt next.policy

A validator signs one proposal of a version only, so that no two can come into
force; where the signatures are split, a new committee record makes a fresh start.`,
	}
	c.AddCommand(policyShow(e), policyCheck(e), policyPropose(e), policySign(e), policyAdopt(e), policySimulate(e))
	return c
}

func policyShow(e *Env) *cobra.Command {
	var version string
	c := &cobra.Command{
		Use: "show", Short: "The policy in force", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				p, err := s.Policy(ctx, api.PolicyRequest{Word: version})
				if err != nil {
					return err
				}
				return e.print(p, func(w io.Writer) { printPolicy(w, p) })
			})
		},
	}
	c.Flags().StringVar(&version, "version", "", "another version: its number, or newest")
	return c
}

func printPolicy(w io.Writer, p *api.Policy) {
	state := "not in force"
	if p.InForce {
		state = "in force"
	}
	fmt.Fprintf(w, "// version %d of %d, %s", p.Version, p.Newest, state)
	if p.From != "" {
		fmt.Fprintf(w, ", from %s", p.From)
	}
	fmt.Fprintf(w, "\n// head %s\n", p.Head)
	if p.Forks > 0 {
		fmt.Fprintf(w, "// the committee signed two policies of one version: %d proofs are kept\n", p.Forks)
	}
	for _, t := range p.Policies {
		text := t.Text
		if !strings.Contains(text, "@id(") {
			text = fmt.Sprintf("@id(%q)\n%s", t.ID, text)
		}
		fmt.Fprintf(w, "\n%s\n", lines(text))
	}
}

// lines keeps a text's lines and makes each plain.
func lines(text string) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range all {
		all[i] = plain(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(all, "\n")
}

func policyCheck(e *Env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "check FILE", Short: "Whether a file or folder of policies could be adopted", Args: cobra.ExactArgs(1),
		Long: `Check policies: that they parse, that they fit their schema, and that they do not
lock everybody out. FILE is a .cedar file, or a folder with policies.cedar and,
where needed, schema.cedarschema and entities.json.`,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := absolute(args[0])
			if err != nil {
				return err
			}
			b, err := daemon.LoadPolicy(path)
			if err != nil {
				return err
			}
			if err := daemon.CheckPolicy(b, force, e.Now()); err != nil {
				return err
			}
			out := struct {
				Policies int  `json:"policies"`
				OK       bool `json:"ok"`
			}{len(b.Policies), true}
			return e.print(out, func(w io.Writer) { fmt.Fprintf(w, "%d policies, nothing is wrong\n", out.Policies) })
		},
	}
	c.Flags().BoolVar(&force, "force", false, "accept policies that seem to lock everybody out")
	return c
}

func policyPropose(e *Env) *cobra.Command {
	var r api.ProposeRequest
	var output, from string
	c := &cobra.Command{
		Use: "propose FOLDER -o FILE", Short: "Make a proposal for validators to sign", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Path, err = absolute(args[0]); err != nil {
				return err
			}
			if from != "" {
				at, err := time.Parse(time.RFC3339, from)
				if err != nil {
					return fault.Wrap(fault.Usage, err, "", "--from is a time such as 2026-01-31T08:00:00Z")
				}
				r.From = at.Unix()
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				p, err := s.PolicyPropose(ctx, r)
				if err != nil {
					return err
				}
				if err := writeNew(output, p.Content); err != nil {
					return err
				}
				return e.printProposal(p, output)
			})
		},
	}
	f := c.Flags()
	outputFlag(c, &output, "output", "o", "write the proposal to this new file")
	f.StringVar(&from, "from", "", "when it begins, such as 2026-01-31T08:00:00Z (default: at once)")
	f.BoolVar(&r.Force, "force", false, "propose policies that seem to lock everybody out")
	c.MarkFlagRequired("output")
	return c
}

func (e *Env) printProposal(p *api.Proposal, file string) error {
	p.File, p.Content = file, nil
	return e.print(p, func(w io.Writer) {
		fmt.Fprintf(w, "%s  version %d from %s, %d of %d signatures\n", p.Head, p.Version, p.From, len(p.Signed), p.Of)
	})
}

func policySign(e *Env) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "sign FILE [COPY...]", Short: "Sign a proposal as a validator, or join signed copies", Args: cobra.MinimumNArgs(1),
		Long: `Sign a proposal after checking it like one of your own. Signatures in COPY files
are taken over, so that validators may sign copies side by side.`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := mayRewrite(args[0]); err != nil {
				return err
			}
			r := api.SignPolicyRequest{Force: force}
			for i, a := range args {
				path, err := absolute(a)
				if err != nil {
					return err
				}
				if i == 0 {
					r.Path = path
				} else {
					r.Copies = append(r.Copies, path)
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				p, err := s.PolicySign(ctx, r)
				if err != nil {
					return err
				}
				if err := disk.Replace(r.Path, p.Content); err != nil {
					return err
				}
				return e.printProposal(p, args[0])
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "sign policies that seem to lock everybody out")
	return c
}

func policyAdopt(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "adopt FILE", Short: "Adopt a signed proposal and give it to the other validators", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := absolute(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				a, err := s.PolicyAdopt(ctx, api.AdoptRequest{Path: path})
				if err != nil {
					return err
				}
				return e.print(a, func(w io.Writer) {
					fmt.Fprintf(w, "version %d from %s; %d of %d validators have it, the others will fetch it\n", a.Version, a.From, a.Taken, a.Of)
				})
			})
		},
	}
}

func policySimulate(e *Env) *cobra.Command {
	var r api.SimulateRequest
	c := &cobra.Command{
		Use: "simulate --as CONTACT --action A --on R", Short: "What policy would say, and why", Args: cobra.NoArgs,
		Long: `Ask what policy would say to a request, and which clause decides. R is an address
that was deposited here, whose labels, class and collections then count, or an id
as policies know it. Roles that the identity has count too. Whether a grant would
be needed is another question.`,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.As, err = argument(r.As); err != nil {
				return err
			}
			if r.Path != "" {
				if r.Path, err = absolute(r.Path); err != nil {
					return err
				}
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				x, err := s.PolicySimulate(ctx, r)
				if err != nil {
					return err
				}
				return e.print(x, func(w io.Writer) {
					fmt.Fprintln(w, lines(x.Why))
					if len(x.Told) > 0 {
						fmt.Fprintf(w, "whoever asks is told to state: %s\n", strings.Join(x.Told, ", "))
					}
				})
			})
		},
	}
	f := c.Flags()
	f.StringVar(&r.As, "as", "", "who asks: a contact, a file with it, or an identity's id")
	f.StringVar(&r.Action, "action", "", "read, grant, carry, infer, deploy, delegate, revoke or audit")
	f.StringVar(&r.On, "on", "", "on what: an address, or an id")
	f.StringVar(&r.Kind, "kind", "", "Dataset (the default), Model or Collection")
	f.StringVar(&r.Purpose, "purpose", "", "the purpose that it states")
	f.StringVar(&r.Reason, "reason", "", "the reason that it states")
	f.StringArrayVar(&r.Roles, "role", nil, "a role besides those that it has")
	f.StringArrayVar(&r.Labels, "label", nil, "a label key=value besides the object's")
	f.Int64Var(&r.Class, "class", 0, "another classification than the object's")
	f.StringVar(&r.Path, "policy", "", "under the policies of this folder instead of those in force")
	for _, name := range []string{"as", "action", "on"} {
		c.MarkFlagRequired(name)
	}
	return c
}

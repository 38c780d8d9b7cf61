package cli

import (
	"fmt"
	"io"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"cerebrum.dev/cerebrum/node/store"
	"github.com/spf13/cobra"
)

func idCommand(e *Env) *cobra.Command {
	c := &cobra.Command{Use: "id", Short: "The identities of this home"}
	c.AddCommand(idShow(e), idNew(e), idList(e), idExport(e),
		idEnrol(e), idAddDevice(e), idAdopt(e), idDevices(e), idRemoveDevice(e), idRecover(e))
	return c
}

// identityResult is an identity on the command line.
type identityResult struct {
	Identity string `json:"identity"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Contact  string `json:"contact"`
}

func describeIdentity(p *home.Principal) identityResult {
	return identityResult{p.Identity.ID().String(), p.Name, p.Identity.Kind().String(), p.Identity.Contact()}
}

func idShow(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Short: "Show an identity and its contact", Args: cobra.MaximumNArgs(1),
		Long: `Show an identity. Its contact is the one line that you give to somebody who
should grant you something.`,
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := e.principal(args)
			if err != nil {
				return err
			}
			out := describeIdentity(p)
			return e.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "identity  %s\nname      %s\nkind      %s\ncontact   %s\n", out.Identity, plain(out.Name), out.Kind, out.Contact)
			})
		},
	}
}

func (e *Env) principal(args []string) (*home.Principal, error) {
	h, err := e.open()
	if err != nil {
		return nil, err
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	return h.Principal(name)
}

func idNew(e *Env) *cobra.Command {
	var kindName, recoveryFile string
	c := &cobra.Command{
		Use: "new NAME", Short: "Make another identity in this home", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			kind, err := identity.ParseKind(kindName)
			if err != nil {
				return fault.Wrap(fault.Usage, err, "", "--kind")
			}
			h, err := e.open()
			if err != nil {
				return err
			}
			lock, err := store.AcquireLock(h.Dir)
			if err != nil {
				return fault.Wrap(fault.Failed, err, "stop the node first: it has the home's keys in memory", "the home is in use")
			}
			defer lock.Release()
			keep, err := e.recoverySink(recoveryFile)
			if err != nil {
				return err
			}
			p, secret, err := h.NewIdentity(args[0], kind)
			if err != nil {
				keep.drop()
				return err
			}
			if err := keep.write(secret); err != nil {
				return err
			}
			out := describeIdentity(p)
			return e.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s  %s (%s)\n", out.Identity, plain(out.Name), out.Kind) })
		},
	}
	c.Flags().StringVar(&kindName, "kind", "user", "user, agent or service")
	outputFlag(c, &recoveryFile, "recovery-file", "", "write the recovery secret to this new file instead of the terminal")
	return c
}

func idList(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the identities of this home", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			h, err := e.open()
			if err != nil {
				return err
			}
			var out struct {
				Identities []identityResult `json:"identities"`
			}
			for _, p := range h.Principals() {
				out.Identities = append(out.Identities, describeIdentity(p))
			}
			return e.print(out, func(w io.Writer) {
				for _, i := range out.Identities {
					fmt.Fprintf(w, "%s  %-8s %s\n", i.Identity, i.Kind, plain(i.Name))
				}
			})
		},
	}
}

func idExport(e *Env) *cobra.Command {
	var age bool
	c := &cobra.Command{
		Use: "export [NAME]", Short: "Print an identity's contact, or its secret for the age command", Args: cobra.MaximumNArgs(1),
		Long: `Print an identity's contact. With --age-identity print its SECRET age identity,
which the stock age command takes: whoever has it can read what is exported to
the identity. Redirect it to a file that only you can read.`,
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := e.principal(args)
			if err != nil {
				return err
			}
			if !age {
				return e.print(describeIdentity(p), func(w io.Writer) { fmt.Fprintln(w, p.Identity.Contact()) })
			}
			return e.print(struct {
				AgeIdentity string `json:"age_identity"`
			}{p.Secret()}, func(w io.Writer) { fmt.Fprintln(w, p.Secret()) })
		},
	}
	c.Flags().BoolVar(&age, "age-identity", false, "print the secret age identity")
	return c
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/keystore"
	"cerebrum.dev/cerebrum/node/daemon"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/spf13/cobra"
)

func initCommand(e *Env) *cobra.Command {
	var name, network, recoveryFile string
	var plainKeys bool
	c := &cobra.Command{
		Use: "init", Short: "Make a home: keys, an identity, configuration", Args: cobra.NoArgs,
		Long: `Make a home: the node's key, a default identity and a configuration file.

The keys are protected by a passphrase; --plain-keys keeps them in a file that
only you can read instead. The recovery secret is shown once. Keep it offline: the
identity commits to it, and "cerebrum id recover" takes the identity back with it
when a device is lost or stolen.`,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := e.dir()
			if err != nil {
				return err
			}
			o := home.Options{Name: name, Kind: identity.User, Protection: keystore.Protection{Plain: plainKeys}}
			if !plainKeys {
				if o.Protection.Passphrase, err = e.newPassphrase(); err != nil {
					return err
				}
			}
			var file *trust.File // checked before there is a home that could not adopt it
			if network != "" {
				if file, err = readNetwork(network); err != nil {
					return err
				}
				if _, err := home.CheckNetwork(file, e.Now()); err != nil {
					return err
				}
			}
			keep, err := e.recoverySink(recoveryFile)
			if err != nil {
				return err
			}
			h, recovery, err := home.Init(d, o)
			if err != nil {
				return errors.Join(keyFault(err), keep.drop())
			}
			if err := keep.write(recovery); err != nil {
				return err
			}
			if file != nil {
				if err := h.UseNetwork(file, e.Now()); err != nil {
					return err
				}
			}
			p := h.Principals()[0]
			out := struct {
				Identity string `json:"identity"`
				PeerID   string `json:"peer_id"`
				Home     string `json:"home"`
			}{p.Identity.ID().String(), daemon.PeerID(h.PeerKey()), d}
			return e.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "home      %s\nidentity  %s (%s)\npeer      %s\n", d, out.Identity, p.Name, out.PeerID)
			})
		},
	}
	c.Flags().StringVar(&name, "name", "me", "name of the default identity, known to this home alone")
	c.Flags().StringVar(&network, "network", "", "adopt the network of this file")
	c.Flags().BoolVar(&plainKeys, "plain-keys", false, "keep the keys in a file of mode 0600 without a passphrase")
	outputFlag(c, &recoveryFile, "recovery-file", "", "write the recovery secret to this new file instead of the terminal")
	return c
}

func (e *Env) newPassphrase() ([]byte, error) {
	if e.Passphrase != "" {
		return readPassphrase(e.Passphrase)
	}
	first, err := e.ask("New passphrase: ")
	if err != nil {
		return nil, err
	}
	again, err := e.ask("Once more: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, again) || len(first) == 0 {
		return nil, fault.New(fault.Failed, "try again", "the two passphrases differ or are empty")
	}
	return first, nil
}

// recovery is where the recovery secret goes: a new file, or standard error.
type recovery struct {
	file *os.File
	err  io.Writer
}

func (e *Env) recoverySink(path string) (*recovery, error) {
	if path == "" {
		return &recovery{err: e.Err}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Failed, err, "name a file that does not exist", "the recovery file")
	}
	return &recovery{file: f}, nil
}

func (r *recovery) write(secret string) error {
	if r.file == nil {
		fmt.Fprintf(r.err, "\nRecovery secret, shown this once. Keep it offline, away from this machine:\n\n  %s\n\n", secret)
		return nil
	}
	_, err := fmt.Fprintln(r.file, secret)
	return errors.Join(err, r.file.Sync(), r.file.Close())
}

func (r *recovery) drop() error {
	if r.file == nil {
		return nil
	}
	return errors.Join(r.file.Close(), os.Remove(r.file.Name()))
}

func keyFault(err error) error {
	if errors.Is(err, keystore.ErrPassphrase) {
		return fault.Wrap(fault.Failed, err, "try again; there is no way around it", "the keys stay closed")
	}
	return err
}

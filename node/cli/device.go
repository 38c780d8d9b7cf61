package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cerebrum.dev/cerebrum/node/api"
	"cerebrum.dev/cerebrum/node/fault"
	"cerebrum.dev/cerebrum/node/home"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const maxLine = 64 << 10 // bytes of a contact or a request, in a file or on a line

// line is an argument, or what a file of that name holds, or standard input for -.
func (e *Env) line(arg string) (string, error) {
	if arg == "-" {
		return readText(e.In, "standard input", maxLine)
	}
	return argument(arg)
}

// argument is what was typed or, where that names a file, what stands in it.
func argument(s string) (string, error) { return textOf(s, maxLine) }

func textOf(s string, most int64) (string, error) {
	if info, err := os.Stat(s); err != nil || info.IsDir() {
		return strings.TrimSpace(s), nil
	}
	f, err := os.Open(s)
	if err != nil {
		return "", fault.Wrap(fault.Failed, err, "", "the file")
	}
	defer f.Close()
	return readText(f, s, most)
}

func readText(r io.Reader, name string, most int64) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return "", fault.Wrap(fault.Failed, err, "", "%s", name)
	}
	if int64(len(raw)) > most {
		return "", fault.New(fault.Usage, "see whether it is the right file", "%s has more than %s", name, humanize.IBytes(uint64(most)))
	}
	return strings.TrimSpace(string(raw)), nil
}

func idEnrol(e *Env) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "enrol CONTACT --name NAME", Short: "Ask to become a device of an identity", Args: cobra.ExactArgs(1),
		Long: `Make keys with which this home can become a device of an identity, and print the
request in one line. Take it to a device that speaks for the identity, run
"cerebrum id add-device" there, and bring the contact that it prints back to
"cerebrum id adopt". CONTACT may be a file, or - for standard input.`,
		RunE: func(c *cobra.Command, args []string) error {
			contact, err := e.line(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Enrol(ctx, api.EnrolRequest{Contact: contact, Name: name})
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					fmt.Fprintln(w, out.Request)
					if !e.Quiet {
						fmt.Fprintf(e.Err, "this device is %s; compare that on the other one\n", out.Device)
					}
				})
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the identity in this home")
	c.MarkFlagRequired("name")
	return c
}

// published prints what came of a record. What waits is no success yet.
func (e *Env) published(out *api.Published, text func(w io.Writer)) error {
	if err := e.print(out, text); err != nil {
		return err
	}
	if out.State == "waiting" {
		return fault.New(fault.Unavailable, "leave the node running, it goes on by itself; see `cerebrum status`",
			"%d of %d validators have the record, and %d are needed", out.Acks, out.Of, out.Needed)
	}
	return nil
}

func (e *Env) acks(out *api.Published) {
	if !e.Quiet && out.Record != "" {
		fmt.Fprintf(e.Err, "%d of %d validators have it\n", out.Acks, out.Of)
	}
}

func idAddDevice(e *Env) *cobra.Command {
	var as string
	c := &cobra.Command{
		Use: "add-device REQUEST", Short: "Let another device speak for an identity", Args: cobra.ExactArgs(1),
		Long: `Let the device that made a request speak for an identity of this home, and print
the identity's new contact. Compare the fingerprint with the one that the new
device shows: whoever is added can read and grant all that the identity can.`,
		RunE: func(c *cobra.Command, args []string) error {
			request, err := e.line(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.AddDevice(ctx, api.AddDeviceRequest{Request: request, As: as})
				if err != nil {
					return err
				}
				return e.published(out, func(w io.Writer) {
					if !e.Quiet {
						fmt.Fprintf(e.Err, "added the device %s to %q\n", out.Device, plain(out.Name))
					}
					e.acks(out)
					fmt.Fprintln(w, out.Contact)
				})
			})
		},
	}
	c.Flags().StringVar(&as, "as", "", "the identity")
	return c
}

func idAdopt(e *Env) *cobra.Command {
	return &cobra.Command{
		Use: "adopt CONTACT", Short: "Take the contact that lists this device", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			contact, err := e.line(args[0])
			if err != nil {
				return err
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.AdoptIdentity(ctx, api.AdoptIdentityRequest{Contact: contact})
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) {
					fmt.Fprintf(w, "this device, %s, speaks for %s (%s)\n", out.Device, out.Identity, plain(out.Name))
				})
			})
		},
	}
}

func idDevices(e *Env) *cobra.Command {
	var r api.DevicesRequest
	c := &cobra.Command{
		Use: "devices", Short: "The devices of an identity, and those that were", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.Devices(ctx, r)
				if err != nil {
					return err
				}
				return e.print(out, func(w io.Writer) { printDevices(w, out) })
			})
		},
	}
	c.Flags().StringVar(&r.As, "as", "", "the identity")
	return c
}

func printDevices(w io.Writer, out *api.Devices) {
	for _, d := range out.Devices {
		fmt.Fprintf(w, "%s  %-7s", d.Device, d.State)
		if d.Added != "" {
			fmt.Fprintf(w, "  added %s by %s", d.Added, d.By)
		}
		if d.Removed != "" {
			fmt.Fprintf(w, "  removed itself %s", d.Removed)
		} else if d.State == "removed" {
			fmt.Fprint(w, "  ended by a recovery")
		}
		if d.This {
			fmt.Fprint(w, "  (this device)")
		}
		fmt.Fprintln(w)
	}
}

func idRemoveDevice(e *Env) *cobra.Command {
	var r api.RemoveDeviceRequest
	c := &cobra.Command{
		Use: "remove-device [DEVICE]", Short: "End this device of an identity", Args: cobra.MaximumNArgs(1),
		Long: `End this device, for ever, before you sell or dispose of it. A device cannot end
another one: a thief's could end yours. A lost or stolen device is ended by
"cerebrum id recover".`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				r.Device = args[0]
			}
			return e.service(c.Context(), func(ctx context.Context, s api.Service) error {
				out, err := s.RemoveDevice(ctx, r)
				if err != nil {
					return err
				}
				return e.published(out, func(w io.Writer) {
					fmt.Fprintf(w, "%s does not speak for %q any more\n", out.Device, plain(out.Name))
					e.acks(out)
				})
			})
		},
	}
	c.Flags().StringVar(&r.As, "as", "", "the identity")
	return c
}

func idRecover(e *Env) *cobra.Command {
	var old, next string
	var r api.RecoverRequest
	c := &cobra.Command{
		Use: "recover [CONTACT] [--recovery-file FILE]", Short: "Take an identity back with its recovery secret", Args: cobra.MaximumNArgs(1),
		Long: `End every device of an identity but this home's, with the recovery secret that
"cerebrum init" has shown. Without a contact it is an identity of this home; with
the contact of one that was lost, this home becomes its first device again.

A recovery secret works once. A new one is shown, or written to a file: keep it
as you kept the first. --keep takes in again devices that were enrolled and are
not lost. What the identity has granted stays.`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if len(args) > 0 {
				if r.Contact, err = e.line(args[0]); err != nil {
					return err
				}
			}
			if r.Secret, err = e.recoverySecret(old); err != nil {
				return err
			}
			return e.recover(c.Context(), r, next)
		},
	}
	f := c.Flags()
	f.StringVar(&old, "recovery-file", "", "read the recovery secret from this file instead of the terminal")
	outputFlag(c, &next, "new-recovery-file", "", "write the new recovery secret to this new file instead of the terminal")
	f.StringVar(&r.Name, "name", "", "name of the identity in this home")
	f.StringArrayVar(&r.Keep, "keep", nil, "fingerprint of another device that stays")
	return c
}

// recover has the next secret kept before anything can make it the one that
// counts. Its file goes again only where nothing can have been published.
func (e *Env) recover(ctx context.Context, r api.RecoverRequest, path string) error {
	text, key := home.NewRecovery()
	r.Next = hex.EncodeToString(key[:])
	return e.service(ctx, func(ctx context.Context, s api.Service) error {
		keep, err := e.recoverySink(path)
		if err != nil {
			return err
		}
		check := r
		check.Check = true
		if _, err := s.Recover(ctx, check); err != nil {
			return errors.Join(err, keep.drop())
		}
		if err := keep.write(text); err != nil {
			return err
		}
		out, err := s.Recover(ctx, r)
		if err != nil {
			return unrecovered(err, path)
		}
		return e.published(out, func(w io.Writer) {
			fmt.Fprintf(w, "%s speaks for %s (%s)\n", out.Device, out.Identity, plain(out.Name))
			e.acks(out)
		})
	})
}

// unrecovered says what the new secret is worth after an error.
func unrecovered(err error, path string) error {
	f := fault.Of(err)
	if f.Exit == fault.Denied || f.Exit == fault.Unavailable {
		if path != "" {
			return errors.Join(err, os.Remove(path))
		}
		return fault.Wrap(f.Exit, err, f.Hint, "nothing was changed, and the new secret is of no use")
	}
	return fault.Wrap(f.Exit, err, "keep both secrets until `cerebrum id devices` shows which one counts", "the recovery may have gone through")
}

// recoverySecret reads the secret and checks its form, never from an argument:
// those are in the process list and in the shell's history.
func (e *Env) recoverySecret(path string) (string, error) {
	var raw []byte
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return "", fault.Wrap(fault.Failed, err, "", "the recovery file")
		}
		defer f.Close()
		if raw, err = io.ReadAll(io.LimitReader(f, 4<<10)); err != nil {
			return "", fault.Wrap(fault.Failed, err, "", "the recovery file")
		}
	} else {
		in, ok := e.In.(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return "", fault.New(fault.Failed, "give it with --recovery-file FILE", "the recovery secret is needed, and there is no terminal to ask for it")
		}
		fmt.Fprint(e.Err, "Recovery secret: ")
		var err error
		raw, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(e.Err)
		if err != nil {
			return "", err
		}
	}
	if _, err := home.ParseRecovery(string(raw)); err != nil {
		return "", err
	}
	return string(raw), nil
}

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// outputFlag makes a flag that names what a command writes.
func outputFlag(c *cobra.Command, p *string, name, short, usage string) {
	c.Flags().VarP((*outputPath)(p), name, short, usage)
}

// outputPath is the value of such a flag. What is written is finished beside the path
// and renamed, or is new: none of it goes to standard output, for which - would stand.
// Nothing is what an unset variable of a shell gives, and no wish to write nothing.
type outputPath string

func (o *outputPath) String() string { return string(*o) }
func (o *outputPath) Type() string   { return "string" }

func (o *outputPath) Set(s string) error {
	switch s {
	case "":
		return errors.New("no name was given")
	case "-":
		return errors.New("it does not go to standard output: name a file, or ./- for one of that name")
	}
	*o = outputPath(s)
	return nil
}

// mayWrite is whether an output may be put under its name, and whether nothing is there
// yet. Only a file is ever replaced: a rename would put one in the place of a device, or
// of the link /dev/stdout.
func mayWrite(output string, force bool) (fresh bool, err error) {
	old, err := os.Lstat(output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fault.Wrap(fault.Failed, err, "choose another name", "the output")
	case !old.Mode().IsRegular() && force:
		return false, fault.New(fault.Failed, "choose another name", "%s is no file, and --force replaces files only", output)
	case !old.Mode().IsRegular():
		return false, fault.New(fault.Failed, "choose another name", "%s exists", output)
	case !force:
		return false, fault.New(fault.Failed, "choose another name, or replace it with --force", "%s exists", output)
	}
	return false, nil
}

// mayRewrite refuses what a command reads and then puts a new version of in its place,
// where that is no file: of a link, what it leads to would stay as it was.
func mayRewrite(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() { // reading says what else is wrong
		return fault.New(fault.Usage, "name the file itself", "%s is no file, and signatures are written into one", path)
	}
	return nil
}

// commit renames the finished output. A new file is linked, not renamed, so that
// what somebody else made meanwhile is not replaced.
func commit(from, output string, fresh bool) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if fresh && info.Mode().IsRegular() {
		if err := os.Link(from, output); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		} // a file system without links: the rename below is as good as it gets
	}
	return os.Rename(from, output)
}

// intoFile has do fill a file beside the output, and renames it at the end, so that
// there is never a partial file under the output's name. On nil it is on disk.
func intoFile(output string, force bool, do func(tmp string) error) error {
	output, err := absolute(output)
	if err != nil {
		return err
	}
	fresh, err := mayWrite(output, force)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(output), "."+filepath.Base(output)+".part-*")
	if err != nil {
		return fault.Wrap(fault.Failed, err, "choose a folder that exists and that you may write to", "the output")
	}
	tmp.Close()
	defer os.Remove(tmp.Name()) // gone after the rename
	if err := do(tmp.Name()); err != nil {
		return err
	}
	if err := commit(tmp.Name(), output, fresh); err != nil {
		return fault.Wrap(fault.Failed, err, "choose another name", "the output")
	}
	return disk.SyncFolder(filepath.Dir(output))
}

func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.Wrap(fault.Failed, err, "name a file that does not exist", "the output")
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeSecret writes a new file that only its owner reads.
func writeSecret(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault.Wrap(fault.Failed, err, "name a file that does not exist", "the output")
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

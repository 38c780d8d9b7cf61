package cli

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
	"cerebrum.dev/cerebrum/node/anonymize/operate"
	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/fault"
	"github.com/spf13/cobra"
)

// keyFlags are the key of pseudonyms and what they are bound to.
type keyFlags struct{ file, dataset string }

func (k *keyFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&k.file, "key-file", "", "the key of pseudonyms, 32 random bytes or more; without it, one that nobody keeps")
	f.StringVar(&k.dataset, "dataset", "", "what pseudonyms are bound to; equal names and keys give equal pseudonyms (default IN's name)")
}

// maxKey is the largest file of a key, in bytes.
const maxKey = 4 << 10

// pseudonyms makes what replaces the cells of columns.
func (k *keyFlags) pseudonyms(columns []string, input string) (map[string]publish.Rewrite, error) {
	if len(columns) == 0 {
		if k.file != "" || k.dataset != "" {
			return nil, fault.New(fault.Usage, "name columns with --hash", "--key-file and --dataset are for pseudonyms, and no column gets any")
		}
		return nil, nil
	}
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	dataset := k.dataset
	if dataset == "" {
		dataset = strings.TrimSuffix(filepath.Base(input), filepath.Ext(input))
	}
	out := map[string]publish.Rewrite{}
	for _, c := range columns {
		p, err := operate.NewPseudonym(key, operate.Place{Dataset: dataset, Column: c})
		if err != nil {
			return nil, fault.Wrap(fault.Usage, err, "", "--hash")
		}
		out[c] = func(dst, cell []byte) ([]byte, error) { return p.Append(dst, operate.Cell{Value: cell}) }
	}
	return out, nil
}

func (k *keyFlags) key() (operate.Key, error) {
	if k.file == "" {
		secret := make([]byte, operate.MinKey)
		rand.Read(secret) // never fails
		return operate.NewKey(secret)
	}
	err := disk.Regular(k.file)
	if errors.Is(err, disk.ErrModes) {
		return operate.Key{}, fault.Wrap(fault.Failed, err, "make it yours alone with chmod 600", "the key file")
	}
	if err != nil {
		return operate.Key{}, fault.Wrap(fault.Failed, err, "make one with `head -c 32 /dev/urandom`", "the key file")
	}
	f, err := os.Open(k.file)
	if err != nil {
		return operate.Key{}, fault.Wrap(fault.Failed, err, "", "the key file")
	}
	defer f.Close()
	secret, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return operate.Key{}, fault.Wrap(fault.Failed, err, "", "the key file")
	}
	if len(secret) > maxKey {
		return operate.Key{}, fault.New(fault.Failed, "name the file of a key", "the key file has more than %d bytes", maxKey)
	}
	key, err := operate.NewKey(secret)
	if err != nil {
		return operate.Key{}, fault.Wrap(fault.Failed, err, "make one with `head -c 32 /dev/urandom`", "the key file")
	}
	return key, nil
}

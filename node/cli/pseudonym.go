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
	f.StringVar(&k.file, "key-file", "", "the key of pseudonyms, shifts and encryptions, 32 random bytes or more; without it, one that nobody keeps")
	f.StringVar(&k.dataset, "dataset", "", "what pseudonyms are bound to; equal names and keys give equal pseudonyms (default IN's name, without its ending)")
}

// maxKey is the largest file of a key, in bytes.
const maxKey = 4 << 10

// keyOf is the key and the name that keyed operators and pseudonyms of a job are bound to.
func (k *keyFlags) keyOf(input string, wanted, kept bool) (key operate.Key, dataset string, err error) {
	switch {
	case !wanted && (k.file != "" || k.dataset != ""):
		return key, "", fault.New(fault.Usage, "name columns with --hash, or with an operator of --apply that has a key", "--key-file and --dataset are for pseudonyms, and no column gets any")
	case !wanted:
		return key, "", nil
	case kept && k.file == "":
		return key, "", fault.New(fault.Usage, "name the file of a key with --key-file; make one with `head -c 32 /dev/urandom`", "what can be undone needs a key that somebody keeps, and none is named")
	}
	if dataset = k.dataset; dataset == "" {
		dataset = strings.TrimSuffix(filepath.Base(input), filepath.Ext(input))
	}
	key, err = k.key()
	return key, dataset, err
}

// pseudonyms makes what replaces the cells of columns.
func pseudonyms(columns []string, key operate.Key, dataset string) (map[string]publish.Rewrite, error) {
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

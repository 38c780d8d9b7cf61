package localnet

import (
	"io"
	"os"
	"path/filepath"
)

// Install keeps the program with the network, so that `env` and the processes do
// not depend on a binary that `go run` is about to remove. It returns the path
// of the copy.
func (n *Network) Install(program string) (string, error) {
	to := filepath.Join(n.Dir, "bin", filepath.Base(program))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	if os.Link(program, to) == nil {
		return to, nil
	}
	in, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return to, err
}

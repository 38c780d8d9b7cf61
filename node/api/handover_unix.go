//go:build unix

package api

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const canHandOver = true

// receiveFile reads bytes and at most one file. The system closes what there is no
// room for.
func receiveFile(c *net.UnixConn, p []byte) (int, *os.File, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(p, oob)
	if err != nil || oobn == 0 {
		return n, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, nil, err
	}
	var file *os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			if f := os.NewFile(uintptr(fd), "the output"); file == nil {
				file = f
			} else {
				f.Close()
			}
		}
	}
	return n, file, nil
}

func sendFile(c *net.UnixConn, p []byte, f *os.File) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) { n, _, err = c.WriteMsgUnix(p, unix.UnixRights(int(fd)), nil) })
	if err == nil {
		err = cerr
	}
	return n, err
}

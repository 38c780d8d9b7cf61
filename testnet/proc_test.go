package testnet_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// procField is a number that the system keeps about a process, such as VmHWM: of
// status or rchar: of io; false where it does not tell.
func procField(pid int, file, field string) (int64, bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

package publish_test

import "os"

// mebibytes is not known here.
func mebibytes(*os.ProcessState) float64 { return 0 }

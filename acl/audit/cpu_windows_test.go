package audit

// cpuNanoseconds is not measured on Windows.
func cpuNanoseconds() int64 { return 0 }

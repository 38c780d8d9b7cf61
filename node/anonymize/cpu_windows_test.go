package anonymize_test

import "testing"

// usage is not measured here.
func usage(*testing.B) (cpu, memory float64) { return 0, 0 }

//go:build !unix

package home

// SyncDir does nothing: these systems journal renames and open no folders.
func SyncDir(string) error { return nil }

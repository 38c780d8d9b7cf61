package store

import "golang.org/x/sys/windows"

func diskFree(dir string) free {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return plenty
	}
	out := plenty
	if windows.GetDiskFreeSpaceEx(name, &out.bytes, nil, nil) != nil {
		return plenty
	}
	return out
}

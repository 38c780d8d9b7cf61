package detect

import "bytes"

// isEmail is a mailbox of RFC 5321, section 4.1.2, with a dot-string in front, which may
// be internationalised (RFC 6531), and a domain of two labels or more behind.
func isEmail(cell []byte) bool {
	i := bytes.IndexByte(cell, '@')
	n := len(cell) - i - 1
	return i > 0 && n > 0 && len(cell) <= 254 && isLocal(cell[:i]) && domain(cell[i+1:]) == n
}

// locals is the characters of a dot-string: atext of RFC 5322, section 3.2.3, and dots.
var locals = func() (t [256]bool) {
	for i := range t {
		t[i] = classes[i]&(digit|letter) != 0 || i >= 0x80
	}
	for _, c := range "!#$%&'*+/=?^_`{|}~-." {
		t[c] = true
	}
	return t
}()

func isLocal(s []byte) bool {
	if len(s) == 0 || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for i, c := range s {
		if !locals[c] || c == '.' && s[i+1] == '.' {
			return false
		}
	}
	return true
}

// domain is how many bytes a domain name has with which s begins, or 0: labels of 1 to
// 63 letters, digits and inner hyphens (RFC 1123, section 2.1), two at least, and the
// last begins with a letter and has two characters at least.
func domain(s []byte) int {
	labels, begin, end := 0, 0, 0
	for i := 0; i <= len(s) && i <= 253; i++ {
		inner := i < len(s) && (classes[s[i]]&(digit|letter) != 0 || s[i] >= 0x80)
		if inner || i < len(s) && s[i] == '-' && i > begin {
			continue
		}
		n := i - begin
		if n < 1 || n > 63 || s[i-1] == '-' {
			break
		}
		if labels++; labels > 1 && n >= 2 && classes[s[begin]] != digit {
			end = i
		}
		if i == len(s) || s[i] != '.' {
			break
		}
		begin = i + 1
	}
	// A dot too many, or a label that is none: there a sentence goes on.
	return end
}

// isURL is a scheme of RFC 3986 that is in use for hosts, or "www.", and a host.
func isURL(cell []byte) bool {
	rest := cell
	if i := bytes.Index(cell[:min(len(cell), 16)], []byte("://")); i > 1 {
		for _, c := range cell[:i] {
			if classes[c]&letter == 0 {
				return false
			}
		}
		rest = cell[i+3:]
		if user := bytes.IndexByte(rest[:min(len(rest), maxCell)], '@'); user >= 0 && bytes.IndexByte(rest[:user], '/') < 0 {
			rest = rest[user+1:]
		}
	} else if len(cell) < 5 || !bytes.EqualFold(cell[:4], []byte("www.")) {
		return false
	}
	n := domain(rest[:min(len(rest), maxCell)])
	if n == 0 {
		n = hostAddress(rest)
	}
	if n == 0 {
		return false
	}
	if n < len(rest) {
		switch rest[n] {
		case '/', '?', '#', ':':
		default:
			return false
		}
	}
	return bytes.IndexByte(rest[:min(len(rest), maxCell)], ' ') < 0
}

// hostAddress is how many bytes an IPv4 address has with which s begins, or 0.
func hostAddress(s []byte) int {
	n := 0
	for n < len(s) && n < 16 && (classes[s[n]] == digit || s[n] == '.') {
		n++
	}
	if isIPv4(s[:n]) {
		return n
	}
	return 0
}

// isIPv4 is four numbers up to 255 without leading zeros.
func isIPv4(s []byte) bool {
	if len(s) < 7 || len(s) > 15 {
		return false
	}
	parts, n, size := 0, 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && classes[s[i]] == digit {
			if size > 0 && n == 0 {
				return false
			}
			n, size = 10*n+int(s[i]-'0'), size+1
			if n > 255 {
				return false
			}
			continue
		}
		if size == 0 || i < len(s) && s[i] != '.' {
			return false
		}
		parts, n, size = parts+1, 0, 0
	}
	return parts == 4
}

// isMAC is six bytes in hexadecimal, in pairs between colons or hyphens (IEEE 802), or
// in three fours between dots.
func isMAC(s []byte) bool {
	hex := func(c byte) bool {
		return classes[c] == digit || c|0x20 >= 'a' && c|0x20 <= 'f'
	}
	step, separator := 3, byte(0)
	switch len(s) {
	case 17:
		if separator = s[2]; separator != ':' && separator != '-' {
			return false
		}
	case 14:
		if step, separator = 5, s[4]; separator != '.' {
			return false
		}
	default:
		return false
	}
	for i, c := range s {
		if i%step == step-1 {
			if c != separator {
				return false
			}
		} else if !hex(c) {
			return false
		}
	}
	return true
}

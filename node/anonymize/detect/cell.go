package detect

import (
	"bytes"
	"math/bits"
	"net/netip"
)

// class is what kinds of bytes a cell consists of.
type class uint16

const (
	digit class = 1 << iota
	upper
	lower
	space
	at
	dot
	dash
	colon
	slash
	plus
	paren
	comma
	other // the rest of ASCII, and everything else
)

const letter = upper | lower

var classes = func() (t [256]class) {
	for i := range t {
		c := byte(i)
		switch {
		case c >= '0' && c <= '9':
			t[i] = digit
		case c >= 'A' && c <= 'Z':
			t[i] = upper
		case c >= 'a' && c <= 'z':
			t[i] = lower
		default:
			t[i] = other
		}
	}
	for c, is := range map[byte]class{' ': space, '@': at, '.': dot, '-': dash, ':': colon, '/': slash, '+': plus, '(': paren, ')': paren, ',': comma} {
		t[c] = is
	}
	return t
}()

// maxCell is the longest cell that is looked at as a whole: an e-mail address has at
// most 254 bytes (RFC 5321), and nothing else is as long. URLs are known by their
// beginning.
const maxCell = 256

// classOf is the classes of all bytes, in one pass.
func classOf(cell []byte) (m class) {
	for _, c := range cell {
		m |= classes[c]
	}
	return m
}

// Recognise says which kinds a cell validates as, as a whole. Sure are forms that are
// seldom anything else; possible are forms that plain numbers have too (nine digits, which
// an SSN may be written as), and count only in columns whose name says so.
func Recognise(cell []byte) (sure, possible Set) {
	cell = bytes.Trim(cell, " ")
	if len(cell) > maxCell {
		if isURL(cell) {
			return of(URL), 0
		}
		return 0, 0
	}
	return recognise(cell, classOf(cell))
}

// recognise is Recognise for a cell without spaces around it and its classes.
func recognise(cell []byte, m class) (sure, possible Set) {
	const shortest = 4 // "::1" is the only shorter one, and says nothing
	if len(cell) < shortest || m&(digit|at|colon) == 0 && (cell[0]|0x20 != 'w' || m&dot == 0) {
		return 0, 0
	}
	switch {
	case m&letter != 0 && m&(colon|dot) != 0 && isURL(cell):
		return of(URL), 0
	case m&at != 0:
		if isEmail(cell) {
			return of(Email), 0
		}
		return 0, 0
	case m&other != 0 || m&digit == 0 && m&colon == 0:
		return 0, 0
	case m&colon != 0:
		return coloned(cell, m), 0
	case m&letter != 0:
		return lettered(cell, m), 0
	}
	return numeric(cell, m)
}

// coloned is addresses, and days with a time.
func coloned(cell []byte, m class) (sure Set) {
	if isMAC(cell) {
		return of(MAC)
	}
	if m&(space|slash|plus|paren|comma|dash) == 0 && len(cell) <= 45 && bytes.Count(cell, []byte(":")) >= 2 {
		if a, err := netip.ParseAddr(string(cell)); err == nil && a.Is6() {
			return of(IP)
		}
	}
	if _, ok := dateOf(cell); ok {
		return of(Date)
	}
	return 0
}

// lettered is what has letters and digits, and at most separators besides.
func lettered(cell []byte, m class) (sure Set) {
	if len(cell) > 45 {
		return 0
	}
	if m&(dash|dot) != 0 && isMAC(cell) {
		return of(MAC)
	}
	if _, ok := dateOf(cell); ok {
		return of(Date)
	}
	var room [45]byte
	s := room[:0]
	for _, c := range cell {
		switch classes[c] {
		case digit, upper:
			s = append(s, c)
		case lower:
			s = append(s, c-0x20)
		case space, dash, dot:
		default:
			return 0
		}
	}
	switch len(s) {
	case 9:
		if isNINO(s) {
			sure |= of(NINO)
		}
		if isDNI(s) {
			sure |= of(DNI)
		}
	case 15:
		if isNIR(s) {
			sure |= of(NIR)
		}
	case 16:
		if isCodiceFiscale(s) {
			sure |= of(CodiceFiscale)
		}
	case 17:
		if isVIN(s) {
			sure |= of(VIN)
		}
	}
	if isIBAN(s) {
		sure |= of(IBAN)
	}
	return sure
}

// figures is a cell of digits and separators, taken apart.
type figures struct {
	room   [mostDigits]byte // an array, so that it stays off the heap
	n      int              // digits in it
	groups uint64           // lengths of the groups of digits, a hexadecimal digit each
	count  int              // of the groups
	short  bool             // a group has fewer than three digits
	dots   int
	plus   bool // in front
}

// mostDigits is more than any kind has.
const mostDigits = 24

func (f *figures) read(cell []byte) bool {
	run := 0
	for i, c := range cell {
		if classes[c] == digit {
			if f.n == mostDigits {
				return false
			}
			f.room[f.n] = c
			f.n, run = f.n+1, run+1
			continue
		}
		switch {
		case c == '.':
			f.dots++
		case c == '+':
			f.plus = f.plus || i == 0
		}
		if !f.close(run) {
			return false
		}
		run = 0
	}
	return f.close(run)
}

func (f *figures) close(run int) bool {
	if run == 0 {
		return true
	}
	f.short = f.short || run < 3
	f.groups, f.count = f.groups<<4|uint64(min(run, 15)), f.count+1
	return f.count <= 10
}

// numeric is what has digits and separators only.
func numeric(cell []byte, m class) (sure, possible Set) {
	if len(cell) > 45 {
		return 0, 0
	}
	if m&comma != 0 {
		if isPair(cell) {
			sure = of(Coordinates)
		}
		return sure, 0
	}
	var f figures
	if !f.read(cell) {
		return 0, 0
	}
	n := f.n
	switch {
	case f.dots == 3 && m == digit|dot:
		if isIPv4(cell) {
			sure = of(IP)
		}
		return sure, 0
	case f.dots == 1 && m&^(digit|dot|dash) == 0 && f.count == 2 && (m&dash == 0 || cell[0] == '-'):
		if isDegrees(cell, 180) {
			possible = of(Coordinates)
		}
		return 0, possible
	case n < 6 || m == digit && n < 8:
		return 0, 0
	}
	if n == 8 || f.count == 3 {
		if _, ok := dateOf(cell); ok {
			return of(Date), 0
		}
	}
	if m&(paren|plus) == 0 && cell[0] != '-' {
		sure, possible = f.numbers(m)
	}
	s, p := f.phone(cell, m, sure)
	return sure | s, possible | p
}

// numbers is the kinds that are all digits.
func (f *figures) numbers(m class) (sure, possible Set) {
	d, bare := f.room[:f.n], m == digit
	grouped := func(groups ...uint64) bool {
		for _, g := range groups {
			if f.groups == g {
				return true
			}
		}
		return bare
	}
	add := func(k Kind, ok bool) {
		if ok {
			sure |= of(k)
		}
	}
	switch len(d) {
	case 9:
		if isSSN(d) {
			if f.groups == 0x324 && m&^(digit|dash|space) == 0 {
				sure |= of(SSN)
			} else if bare {
				possible |= of(SSN)
			}
		}
		add(BSN, grouped(0x423) && isBSN(d))
	case 10:
		add(NHS, grouped(0x334) && isNHS(d))
		add(Personnummer, grouped(0x64) && isPersonnummer(d))
	case 11:
		add(PESEL, bare && isPESEL(d))
		add(SteuerID, grouped(0x2333) && isSteuerID(d))
		add(CPF, grouped(0x3332, 0x92) && isCPF(d))
	case 12:
		add(Aadhaar, grouped(0x444) && isAadhaar(d))
		add(Personnummer, grouped(0x84) && isPersonnummer(d[2:]) && (d[0] == '1' && d[1] == '9' || d[0] == '2' && d[1] == '0'))
	case 15:
		add(NIR, grouped(0x1222332, 0xd2) && isNIR(d))
	}
	if len(d) >= 12 && len(d) <= 19 && !f.short {
		add(Card, isCard(d))
	}
	return sure, possible
}

// count adds a cell's kinds to counters.
func count(counters *[kinds]uint32, s Set) {
	for ; s != 0; s &= s - 1 {
		counters[bits.TrailingZeros32(uint32(s))]++
	}
}

package detect

import (
	"bytes"
	"encoding/binary"
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

// classOfCell is classOf for what may be digits alone, of which whole tables consist: they
// are looked at eight at a time.
func classOfCell(cell []byte) (m class) {
	for len(cell) >= 8 && areDigits(binary.LittleEndian.Uint64(cell)) {
		m, cell = digit, cell[8:]
	}
	return m | classOf(cell)
}

// areDigits says whether eight bytes are digits: their high halves are 3, and still are
// when 6 is added, which carries from ten on. A byte that is none may carry into the one
// above it, and is seen itself by its high half.
func areDigits(eight uint64) bool {
	const high, three, six = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030, 0x0606060606060606
	return eight&high == three && (eight+six)&high == three
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
	d      []byte // the digits in it
	groups uint64 // lengths of the groups of digits, a hexadecimal digit each
	count  int    // of the groups
	short  bool   // a group has fewer than three digits
	dots   int
	plus   bool // in front
}

// mostDigits is more than any kind has.
const mostDigits = 24

// read takes the digits into room, of which the caller makes f.d: so they stay off the heap.
func (f *figures) read(cell []byte, room *[mostDigits]byte) (n int, ok bool) {
	run := 0
	for i, c := range cell {
		if classes[c] == digit {
			if n == mostDigits {
				return 0, false
			}
			room[n] = c
			n, run = n+1, run+1
			continue
		}
		switch {
		case c == '.':
			f.dots++
		case c == '+':
			f.plus = f.plus || i == 0
		}
		if !f.close(run) {
			return 0, false
		}
		run = 0
	}
	return n, f.close(run)
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
	if m == digit {
		return bare(cell)
	}
	var f figures
	var room [mostDigits]byte
	n, ok := f.read(cell, &room)
	if !ok {
		return 0, 0
	}
	f.d = room[:n]
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
	case n < 6:
		return 0, 0
	}
	if n == 8 || f.count == 3 {
		if _, ok := dateOf(cell); ok {
			return of(Date), 0
		}
	}
	if m&(paren|plus) == 0 && cell[0] != '-' {
		sure, possible = numbers(f.d, f.groups, m, f.short)
	}
	s, p := f.phone(cell, m, sure)
	return sure | s, possible | p
}

// bare is a cell of digits alone, of which whole tables consist.
func bare(cell []byte) (sure, possible Set) {
	n := len(cell)
	if n < 8 || n > mostDigits {
		return 0, 0
	}
	if n == 8 {
		if _, ok := dateOf(cell); ok {
			return of(Date), 0
		}
	}
	groups := uint64(min(n, 15))
	sure, possible = numbers(cell, groups, digit, false)
	if cell[0] == '0' || n == 10 || n == 11 && cell[0] == '1' { // with no separator, nothing else is a phone number
		f := figures{d: cell, groups: groups, count: 1}
		_, p := f.phone(cell, digit, sure)
		possible |= p
	}
	return sure, possible
}

// numbers is the kinds that are all digits, in one group or in those that each has.
func numbers(d []byte, groups uint64, m class, short bool) (sure, possible Set) {
	bare := m == digit
	switch len(d) {
	case 9:
		if isSSN(d) {
			if groups == 0x324 && m&^(digit|dash|space) == 0 {
				sure = of(SSN)
			} else if bare {
				possible = of(SSN)
			}
		}
		if (bare || groups == 0x423) && isBSN(d) {
			sure |= of(BSN)
		}
	case 10:
		if (bare || groups == 0x334) && isNHS(d) {
			sure = of(NHS)
		}
		if (bare || groups == 0x64) && isPersonnummer(d) {
			sure |= of(Personnummer)
		}
	case 11:
		if bare && isPESEL(d) {
			sure = of(PESEL)
		}
		if (bare || groups == 0x2333) && isSteuerID(d) {
			sure |= of(SteuerID)
		}
		if (bare || groups == 0x3332 || groups == 0x92) && isCPF(d) {
			sure |= of(CPF)
		}
	case 12:
		if (bare || groups == 0x444) && isAadhaar(d) {
			sure = of(Aadhaar)
		}
		if (bare || groups == 0x84) && (d[0] == '1' && d[1] == '9' || d[0] == '2' && d[1] == '0') && isPersonnummer(d[2:]) {
			sure |= of(Personnummer)
		}
	case 15:
		if (bare || groups == 0x1222332 || groups == 0xd2) && isNIR(d) {
			sure = of(NIR)
		}
	}
	if len(d) >= 12 && len(d) <= 19 && !short && isCard(d) {
		sure |= of(Card)
	}
	return sure, possible
}

// count adds a cell's kinds to counters.
func count(counters *[kinds]uint32, s Set) {
	for ; s != 0; s &= s - 1 {
		counters[bits.TrailingZeros32(uint32(s))]++
	}
}

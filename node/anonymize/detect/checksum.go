package detect

import "math/bits"

// The validators here take characters that were cleaned before: '0' to '9', and 'A' to
// 'Z' where letters belong. Lengths are checked by the callers unless said otherwise.

// weighted is the sum of products of digits and weights.
func weighted(d []byte, weights string) (sum int) {
	d = d[:len(weights)]
	for i, c := range d {
		sum += int(c-'0') * int(weights[i]-'0')
	}
	return sum
}

// isLuhn is ISO/IEC 7812-1, annex B.
func isLuhn(d []byte) bool {
	sum := 0
	for i := len(d) - 1; i > 0; i -= 2 {
		sum += int(d[i]-'0') + int(doubled[d[i-1]&15])
	}
	if len(d)%2 == 1 {
		sum += int(d[0] - '0')
	}
	return sum%10 == 0
}

// doubled is the sum of the digits of twice each digit.
var doubled = [16]uint8{0, 2, 4, 6, 8, 1, 3, 5, 7, 9}

// isVerhoeff is J. Verhoeff, Error Detecting Decimal Codes, 1969: products in the
// dihedral group of order ten.
func isVerhoeff(d []byte) bool {
	c := byte(0)
	for i := len(d) - 1; i >= 0; i-- {
		c = verhoeffProduct[c][verhoeffPower[(len(d)-1-i)%8][d[i]-'0']]
	}
	return c == 0
}

var verhoeffProduct = [10][10]byte{
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
	{4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
	{8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
}

var verhoeffPower = [8][10]byte{
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}, {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
	{9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1}, {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8},
}

// mod97 is the number that characters make, letters as 10 to 35, modulo 97
// (ISO 7064 MOD 97-10), going on from a remainder.
func mod97(remainder int, s []byte) int {
	for _, c := range s {
		if c >= 'A' {
			remainder = (remainder*100 + int(c-'A') + 10) % 97
		} else {
			remainder = (remainder*10 + int(c-'0')) % 97
		}
	}
	return remainder
}

func allDigits(s []byte) bool {
	for _, c := range s {
		if classes[c] != digit {
			return false
		}
	}
	return true
}

func two(d []byte) int { return int(d[0]-'0')*10 + int(d[1]-'0') }

// isSSN is the rules for numbers that were ever assigned: no area 000, 666 or 900 and
// above, no group 00, no serial 0000 (SSA, POMS RM 10201.035), and neither of two
// numbers that were printed in advertisements.
func isSSN(d []byte) bool {
	if d[0] == '9' || string(d[3:5]) == "00" {
		return false
	}
	area := string(d[:3])
	return area != "000" && area != "666" && string(d[5:9]) != "0000" && string(d) != "078051120" && string(d) != "219099999"
}

// isNINO is HMRC, National Insurance Manual, NIM39110.
func isNINO(s []byte) bool {
	never := func(c byte, among string) bool {
		for i := range among {
			if among[i] == c {
				return true
			}
		}
		return false
	}
	if classes[s[0]] != upper || classes[s[1]] != upper || !allDigits(s[2:8]) || s[8] < 'A' || s[8] > 'D' {
		return false
	}
	if never(s[0], "DFIQUV") || never(s[1], "DFIOQUV") {
		return false
	}
	switch string(s[:2]) {
	case "BG", "GB", "NK", "KN", "TN", "NT", "ZZ":
		return false
	}
	return true
}

// isNHS is the NHS Data Dictionary, attribute NHS NUMBER.
func isNHS(d []byte) bool {
	check := 11 - (10*int(d[0]-'0')+weighted(d[1:], "98765432"))%11
	if check == 11 {
		check = 0
	}
	return int(d[9]-'0') == check && d[0] != '0'
}

// isSteuerID is section 139b of the Abgabenordnung and the BZSt's description of the
// number: one of the first ten digits occurs two or three times, all others at most once.
func isSteuerID(d []byte) bool {
	seen := uint32(0)
	for _, c := range d[:10] {
		seen |= 1 << (c & 15)
	}
	if n := bits.OnesCount32(seen); n != 8 && n != 9 || d[0] == '0' {
		return false
	}
	var once, twice, thrice, more uint16 // digits that occur so often, and oftener
	for _, c := range d[:10] {
		b := uint16(1) << (c - '0')
		more, thrice, twice, once = more|thrice&b, thrice|twice&b, twice|once&b, once|b
	}
	if twice&(twice-1) != 0 || more != 0 { // another is repeated, or one too often
		return false
	}
	product := 10
	for _, c := range d[:10] {
		sum := (int(c-'0') + product) % 10
		if sum == 0 {
			sum = 10
		}
		product = 2 * sum % 11
	}
	return int(d[10]-'0') == (11-product)%10
}

// isNIR is the Numéro d'inscription au répertoire of INSEE with its key; 2A and 2B are
// the departments of Corsica and count as 19 and 18.
func isNIR(s []byte) bool {
	var d [15]byte
	copy(d[:], s)
	if d[5] == '2' && (d[6] == 'A' || d[6] == 'B') {
		d[5], d[6] = '1', '9'-(d[6]-'A')
	}
	if !allDigits(d[:]) || d[0] != '1' && d[0] != '2' && d[0] != '7' && d[0] != '8' {
		return false
	}
	month := two(d[3:])
	if month < 1 || month > 12 && month < 20 || month > 42 && month < 50 {
		return false
	}
	return two(d[13:]) == 97-mod97(0, d[:13])
}

// isDNI is Real Decreto 1553/2005 for the letter of DNI, and X, Y, Z in front for NIE.
func isDNI(s []byte) bool {
	d := [8]byte(s)
	if d[0] >= 'X' && d[0] <= 'Z' {
		d[0] = '0' + d[0] - 'X'
	}
	if !allDigits(d[:]) || classes[s[8]] != upper {
		return false
	}
	n := 0
	for _, c := range d {
		n = 10*n + int(c-'0')
	}
	return "TRWAGMYFPDXBNJZSQVHLCKE"[n%23] == s[8]
}

// isCodiceFiscale is Decreto Ministeriale 23 December 1976. Letters may stand for
// digits where two people would have one code (omocodia).
func isCodiceFiscale(s []byte) bool {
	const form = "LLLLLLDDLDDLDDDL"
	var number [16]int
	sum := 0
	for i, c := range s {
		isDigit := classes[c] == digit
		switch {
		case form[i] == 'L' && isDigit:
			return false
		case isDigit:
			number[i] = int(c - '0')
		case form[i] == 'D':
			if number[i] = omocodia[c-'A']; number[i] < 0 {
				return false
			}
		}
		value := int(c - '0')
		if !isDigit {
			value = int(c - 'A')
		}
		switch {
		case i == 15:
		case i%2 == 0: // odd places, counted from one
			sum += oddPlaces[value]
		default:
			sum += value
		}
	}
	day := number[9]*10 + number[10]
	if day > 40 {
		day -= 40
	}
	switch s[8] {
	case 'A', 'B', 'C', 'D', 'E', 'H', 'L', 'M', 'P', 'R', 'S', 'T':
	default:
		return false
	}
	return day >= 1 && day <= 31 && s[15] == 'A'+byte(sum%26)
}

var (
	oddPlaces = [26]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	omocodia  = func() (t [26]int) {
		for i := range t {
			t[i] = -1
		}
		for i, c := range "LMNPQRSTUV" {
			t[c-'A'] = i
		}
		return t
	}()
)

// isBSN is the 11-test of the Burgerservicenummer (Logisch ontwerp BSN, RvIG).
func isBSN(d []byte) bool {
	sum := weighted(d, "98765432") - int(d[8]-'0')
	return sum%11 == 0 && sum != 0
}

var centuries = [5]uint16{1900, 2000, 2100, 2200, 1800}

// isPESEL is the Polish act on population registers of 2010, article 15: the month says
// the century.
func isPESEL(d []byte) bool {
	month := two(d[2:])
	if m := month % 20; m < 1 || m > 12 {
		return false
	}
	return isDay(int(centuries[month/20])+two(d), month%20, two(d[4:])) && (10-weighted(d, "1379137913")%10)%10 == int(d[10]-'0')
}

// isPersonnummer is the ten digits of Skatteverket, SKV 704; co-ordination numbers have
// 60 added to the day.
func isPersonnummer(d []byte) bool {
	day := two(d[4:])
	if day > 60 {
		day -= 60
	}
	// The century is not among the ten digits: 2000 was a leap year.
	return isDay(2000+two(d), two(d[2:]), day) && isLuhn(d)
}

// isCPF is the two check digits of the Receita Federal; equal digits pass them and are
// not issued.
func isCPF(d []byte) bool {
	// The weights fall by one from ten, so that sums of sums make them.
	var sum, total uint32
	for _, c := range d[:9] {
		total += uint32(c - '0')
		sum += total
	}
	sum += total
	if '0'+byte(10*sum%11%10) != d[9] {
		return false
	}
	// The second has the weights of the first and one more, and that of the first digit.
	sum += total + 2*uint32(d[9]-'0')
	return '0'+byte(10*sum%11%10) == d[10] && !equal(d)
}

func equal(d []byte) bool {
	for _, c := range d {
		if c != d[0] {
			return false
		}
	}
	return true
}

// isAadhaar is UIDAI, A UID Numbering Scheme, 2010.
func isAadhaar(d []byte) bool { return d[0] >= '2' && isVerhoeff(d) }

// isVIN is 49 CFR 565.15(c). Vehicles made outside of North America need not have the
// check digit.
func isVIN(s []byte) bool {
	const weights = "\x08\x07\x06\x05\x04\x03\x02\x0a\x00\x09\x08\x07\x06\x05\x04\x03\x02"
	const values = "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x02\x03\x04\x05\x00\x07\x00\x09\x02\x03\x04\x05\x06\x07\x08\x09"
	sum := 0
	for i, c := range s {
		switch {
		case c == 'I' || c == 'O' || c == 'Q':
			return false
		case c >= 'A':
			sum += int(values[c-'A']) * int(weights[i])
		default:
			sum += int(c-'0') * int(weights[i])
		}
	}
	return s[8] == "0123456789X"[sum%11]
}

package detect

// ibanLength is the length of each country's IBAN (SWIFT, IBAN Registry, release 99).
var ibanLength = func() (t [26 * 26]uint8) {
	const registry = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27" +
		"GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27" +
		"MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"
	for i := 0; i < len(registry); i += 4 {
		t[country(registry[i], registry[i+1])] = uint8(two([]byte(registry[i+2:])))
	}
	return t
}()

func country(a, b byte) int { return int(a-'A')*26 + int(b-'A') }

// isIBAN takes letters and digits of any number.
func isIBAN(s []byte) bool {
	if len(s) < 15 || classes[s[0]] != upper || classes[s[1]] != upper || !allDigits(s[2:4]) {
		return false
	}
	return len(s) == int(ibanLength[country(s[0], s[1])]) && mod97(mod97(0, s[4:]), s[:4]) == 1
}

// isCard takes 12 to 19 digits: the ranges of Visa, Mastercard, American Express,
// Discover, Diners Club, JCB, UnionPay and Maestro (ISO/IEC 7812 as the schemes publish
// them), the lengths that each has, and Luhn.
func isCard(d []byte) bool {
	n := len(d)
	four := two(d)*100 + two(d[2:])
	ok := false
	switch {
	case d[0] == '4':
		ok = n == 13 || n == 16 || n == 19
	case four >= 5100 && four < 5600, four >= 2221 && four <= 2720:
		ok = n == 16
	case four/100 == 34 || four/100 == 37:
		ok = n == 15
	case four == 6011, four >= 6440 && four < 6600, four >= 3528 && four <= 3589, four/100 == 62:
		ok = n >= 16
	case four >= 3000 && four < 3060, four/100 == 36, four/100 == 38, four/100 == 39:
		ok = n >= 14
	case four/100 == 50, four >= 5600 && four < 5900, four == 6304, four >= 6759 && four < 6770:
		ok = true
	}
	return ok && isLuhn(d)
}

// callingCode says how many digits the country code has with which digits begin, or 0
// (ITU-T, List of E.164 assigned country codes).
func callingCode(d []byte) int {
	if d[0] == '1' || d[0] == '7' {
		return 1
	}
	switch n := two(d); {
	case n == 20 || n == 27 || n >= 30 && n <= 34 || n == 36 || n >= 39 && n <= 41 || n >= 43 && n <= 49 ||
		n >= 51 && n <= 58 || n >= 60 && n <= 66 || n == 81 || n == 82 || n == 84 || n == 86 || n >= 90 && n <= 95 || n == 98:
		return 2
	case n >= 21 && n <= 26 || n == 29 || n == 35 || n == 37 || n == 38 || n == 42 || n == 50 || n == 59 ||
		n >= 67 && n <= 69 || n == 80 || n == 85 || n == 87 || n == 88 || n == 96 || n == 97 || n == 99:
		return 3
	}
	return 0
}

// isNANP says whether ten digits are a number of North America: neither the area nor
// the exchange begins with 0 or 1, nor is either N11.
func isNANP(d []byte) bool {
	return d[0] >= '2' && d[3] >= '2' && string(d[1:3]) != "11" && string(d[4:6]) != "11"
}

// phone looks for numbers with a country code (sure), in national forms that nothing
// else has (sure), and in those of plain digits (possible).
func (f *figures) phone(cell []byte, m class, already Set) (sure, possible Set) {
	d, n := f.d, len(f.d)
	last := cell[len(cell)-1]
	if n < 7 || n > 17 || m&comma != 0 || classes[last] != digit || f.count > 7 || m&plus != 0 && !f.plus || !closed(cell, m) {
		return 0, 0
	}
	switch {
	case f.plus, n > 10 && d[0] == '0' && d[1] == '0' && d[2] != '0':
		if !f.plus {
			d = d[2:]
		}
		code := callingCode(d)
		switch {
		case code == 0 || len(d) < 8 || len(d) > 15, d[0] == '1' && (len(d) != 11 || !isNANP(d[1:])):
		case f.plus:
			return of(Phone), 0
		default:
			return 0, of(Phone)
		}
	case already != 0:
	case n == 10 && isNANP(d) && cell[0] == '(' && f.groups == 0x334:
		return of(Phone), 0
	case d[0] == '0' && d[1] != '0' && n >= 9 && n <= 12 && f.count > 1 && m&dot == 0:
		return of(Phone), 0
	case n == 10 && isNANP(d) && (f.groups == 0x334 || f.count == 1),
		n == 11 && d[0] == '1' && isNANP(d[1:]),
		d[0] == '0' && d[1] != '0' && n >= 9 && n <= 12,
		f.count > 1 && n <= 9 && d[0] != '0':
		return 0, of(Phone)
	}
	return 0, 0
}

// closed says whether a cell has no parentheses, or one pair.
func closed(cell []byte, m class) bool {
	if m&paren == 0 {
		return true
	}
	open, shut := -1, -1
	for i, c := range cell {
		switch {
		case c == '(' && open < 0:
			open = i
		case c == ')' && open >= 0 && shut < 0:
			shut = i
		case c == '(' || c == ')':
			return false
		}
	}
	return shut > open+1
}

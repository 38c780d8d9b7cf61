package detect

// Years of dates that are taken for dates: older ones are history, later ones are not of people.
const (
	firstYear = 1900
	lastYear  = 2100
)

var daysOf = [12]uint8{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func isDay(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	days := int(daysOf[month-1])
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		days = 29
	}
	return day <= days
}

// dateOf reads a day, with or without a time behind it: year, month and day, or day and
// month in either order before the year, between hyphens, dots or slashes; eight digits;
// or a day with the name of a month in English. It gives the year.
func dateOf(cell []byte) (year int, ok bool) {
	if i := timeAt(cell); i > 0 {
		cell = cell[:i]
	}
	if len(cell) == 8 && allDigits(cell) {
		return day(two(cell)*100+two(cell[2:]), two(cell[4:]), two(cell[6:]))
	}
	if len(cell) < 8 || len(cell) > 12 {
		return 0, false
	}
	var part [3]int
	var size [3]int
	var separator byte
	p, named := 0, -1
	for i := 0; i < len(cell); i++ {
		switch c := cell[i]; {
		case classes[c] == digit && size[p] < 4 && p != named:
			part[p], size[p] = 10*part[p]+int(c-'0'), size[p]+1
		case classes[c]&letter != 0 && named < 0 && size[p] == 0 && len(cell)-i >= 3:
			m := monthOf(cell[i : i+3])
			if m == 0 {
				return 0, false
			}
			part[p], size[p], named = m, 2, p
			i += 2
		case (c == '-' || c == '.' || c == '/' || c == ' ') && p < 2 && size[p] > 0 && (separator == 0 || separator == c):
			separator = c
			p++
		default:
			return 0, false
		}
	}
	switch {
	case p != 2 || separator == ' ' && named < 0:
		return 0, false
	case size[0] == 4 && size[1] <= 2 && size[2] <= 2 && size[2] > 0 && named != 2:
		return day(part[0], part[1], part[2])
	case size[2] != 4 || size[0] > 2 || size[1] > 2:
		return 0, false
	case named == 0:
		return day(part[2], part[0], part[1])
	}
	if y, ok := day(part[2], part[1], part[0]); ok {
		return y, true
	}
	if named >= 0 {
		return 0, false
	}
	return day(part[2], part[0], part[1])
}

// YearOf is the year of a cell that is a day as [Recognise] knows days, with or without a time.
func YearOf(cell []byte) (year int, ok bool) { return dateOf(cell) }

func day(y, m, d int) (int, bool) {
	return y, y >= firstYear && y <= lastYear && isDay(y, m, d)
}

// timeAt is where a time of day follows a date, or 0.
func timeAt(cell []byte) int {
	if len(cell) < 13 || len(cell) > 40 {
		return 0
	}
	at := 0
	for i := 8; i < len(cell) && i <= 11; i++ {
		if cell[i] == 'T' || cell[i] == ' ' && cell[i-1] != ' ' && classes[cell[i-1]] == digit {
			at = i
			break
		}
	}
	if at == 0 || classes[cell[at+1]] != digit {
		return 0
	}
	colons := 0
	for _, c := range cell[at+1:] {
		switch {
		case c == ':':
			colons++
		case classes[c]&(digit|dot|dash|plus|space) == 0 && c != 'Z' && c|0x20 != 'a' && c|0x20 != 'p' && c|0x20 != 'm':
			return 0
		}
	}
	if colons == 0 {
		return 0
	}
	return at
}

func monthOf(s []byte) int {
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	for i := 0; i < len(names); i += 3 {
		if s[0]|0x20 == names[i] && s[1]|0x20 == names[i+1] && s[2]|0x20 == names[i+2] {
			return i/3 + 1
		}
	}
	return 0
}

// isDegrees is a decimal within a limit, with three decimals or more: a hundred metres.
func isDegrees(s []byte, limit int) bool {
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	whole, digits, decimals, point := 0, 0, 0, false
	for _, c := range s {
		switch {
		case c == '.' && !point:
			point = true
		case classes[c] != digit:
			return false
		case point:
			decimals++
		default:
			if digits++; digits > 3 {
				return false
			}
			whole = 10*whole + int(c-'0')
		}
	}
	return digits > 0 && decimals >= 3 && decimals <= 15 && whole <= limit
}

// isPair is a latitude and a longitude, with a comma between them.
func isPair(s []byte) bool {
	for i, c := range s {
		if c != ',' {
			continue
		}
		rest := s[i+1:]
		if len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		return isDegrees(s[:i], 90) && isDegrees(rest, 180)
	}
	return false
}

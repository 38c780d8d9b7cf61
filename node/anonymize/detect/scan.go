package detect

import (
	"bytes"
	"iter"
)

// Finding is an identifier within a text.
type Finding struct {
	Kind       Kind
	Start, End int // text[Start:End]
}

// longest is the longest text between separators that is looked at, and the longest
// sequence of groups: an IBAN of 34 characters in groups of four has 42.
const longest = 45

// mostGroups is how many groups a sequence has: an IBAN has nine.
const mostGroups = 9

// Find finds the identifiers in a text, from left to right, and none inside another. It
// takes the sure forms only ([Recognise]), and the longest where one begins another. It is
// linear in the text: each byte is looked at a bounded number of times, whatever it is.
func Find(text []byte) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		s := scanner{text: text}
		for {
			f, ok := s.next()
			if !ok || !yield(f) {
				return
			}
		}
	}
}

// Redact appends text to dst with the name of its kind in brackets in the place of each
// identifier, and says how many there were. Names of people and whatever else has no
// pattern remain: a person has to review the result.
func Redact(dst, text []byte) ([]byte, int) {
	n, from := 0, 0
	for f := range Find(text) {
		dst = append(dst, text[from:f.Start]...)
		dst = append(dst, '[')
		dst = append(dst, f.Kind.String()...)
		dst = append(dst, ']')
		from = f.End
		n++
	}
	return append(dst, text[from:]...), n
}

// triggers are the bytes at which something may be found.
var triggers = func() (t [256]bool) {
	for i := range t {
		t[i] = classes[i] == digit
	}
	for _, c := range "@:+(" {
		t[c] = true
	}
	t['.'] = true // www.
	return t
}()

type scanner struct {
	text []byte
	at   int // the next byte to look at
	done int // the end of the last finding
	work int // bytes that were handed to validators, for the test that they stay few
}

func (s *scanner) next() (Finding, bool) {
	for s.at < len(s.text) {
		c := s.text[s.at]
		if !triggers[c] {
			s.at++
			continue
		}
		var f Finding
		switch c {
		case '@':
			f = s.email()
		case ':':
			f = s.colon()
		case '.':
			f = s.www()
		case '+', '(':
			if s.at+1 < len(s.text) && classes[s.text[s.at+1]] == digit {
				f = s.sequence(s.at, s.at+1)
			} else {
				s.at++
			}
		default:
			f = s.word()
		}
		if f.Kind != None {
			s.at, s.done = f.End, f.End
			return f, true
		}
	}
	return Finding{}, false
}

// email takes the local part before an "@" and the domain behind it. No byte is in the
// local parts or domains of two "@".
func (s *scanner) email() Finding {
	i := s.at
	s.at++
	begin := i
	for begin > s.done && i-begin <= 64 && s.text[begin-1] < 0x80 && locals[s.text[begin-1]] {
		begin--
	}
	for begin < i && s.text[begin] == '.' {
		begin++
	}
	s.work += i - begin
	if !isLocal(s.text[begin:i]) {
		return Finding{}
	}
	n := domain(s.text[i+1 : min(len(s.text), i+255)])
	if n == 0 {
		return Finding{}
	}
	return Finding{Email, begin, i + 1 + n}
}

// colon takes URLs, and addresses in hexadecimal.
func (s *scanner) colon() Finding {
	i := s.at
	s.at++
	if bytes.HasPrefix(s.text[i:], []byte("://")) {
		begin := i
		for begin > s.done && i-begin <= 10 && classes[s.text[begin-1]]&letter != 0 {
			begin--
		}
		if begin == i {
			return Finding{}
		}
		return s.url(begin, i+3)
	}
	begin := i
	for begin > s.done && i-begin < 5 && isHex(s.text[begin-1]) {
		begin--
	}
	end, colons := i, 0
	for end < len(s.text) && end-begin <= longest && (isHex(s.text[end]) || s.text[end] == ':' || s.text[end] == '.') {
		if s.text[end] == ':' {
			colons++
		}
		end++
	}
	s.work += end - begin
	if colons < 2 {
		return Finding{}
	}
	s.at = end
	for end > begin && (s.text[end-1] == '.' || s.text[end-1] == ':' && end-begin > 2 && s.text[end-2] != ':') {
		end--
	}
	if s.bounded(begin, end) {
		if set := coloned(s.text[begin:end], colon|letter); end-begin >= 4 && set&(of(IP)|of(MAC)) != 0 {
			return s.found(set, begin, end)
		}
	}
	return Finding{}
}

func isHex(c byte) bool { return classes[c] == digit || c|0x20 >= 'a' && c|0x20 <= 'f' }

// bounded says whether no letter or digit touches text[begin:end].
func (s *scanner) bounded(begin, end int) bool {
	return (begin == 0 || classes[s.text[begin-1]]&(letter|digit) == 0) && (end == len(s.text) || classes[s.text[end]]&(letter|digit) == 0)
}

func (s *scanner) www() Finding {
	i := s.at
	s.at++
	if i-3 < s.done || !bytes.EqualFold(s.text[i-3:i], []byte("www")) || !s.bounded(i-3, i) {
		return Finding{}
	}
	return s.url(i-3, i-3)
}

// longestUser is the longest name and password in front of a host.
const longestUser = 64

// url looks at the host first, and goes to the end only if there is one.
func (s *scanner) url(begin, host int) Finding {
	for i := host; i < min(len(s.text), host+longestUser) && s.text[i] > ' ' && s.text[i] != '/'; i++ {
		if s.text[i] == '@' {
			host = i + 1
			break
		}
	}
	head := s.text[host:min(len(s.text), host+maxCell)]
	n := domain(head)
	if n == 0 {
		n = hostAddress(head)
	}
	s.work += n + 1
	if n == 0 {
		return Finding{}
	}
	end := host + n
	for end < len(s.text) && s.text[end] > ' ' && s.text[end] != '"' && s.text[end] != '<' && s.text[end] != '>' && s.text[end] != '\'' {
		end++
	}
	for end > host+n && bytes.IndexByte([]byte(".,;:!?)]}"), s.text[end-1]) >= 0 {
		end--
	}
	return Finding{URL, begin, end}
}

// word takes the word of letters and digits around a digit, and what follows it.
func (s *scanner) word() Finding {
	begin := s.at
	for begin > s.done && s.at-begin <= longest && classes[s.text[begin-1]]&letter != 0 {
		begin--
	}
	if first := s.initials(begin); first < begin && begin == s.at {
		at := s.at
		if f := s.sequence(first, at); f.Kind != None {
			return f
		}
		s.at = at
	}
	return s.sequence(begin, s.at)
}

// initials is where one or two capitals begin that stand before begin as a group of
// their own, as in "AB 12 34 56 C", or begin.
func (s *scanner) initials(begin int) int {
	if begin-2 < s.done || s.text[begin-1] != ' ' && s.text[begin-1] != '-' {
		return begin
	}
	first := begin - 1
	for first > s.done && first > begin-3 && classes[s.text[first-1]] == upper {
		first--
	}
	if first == begin-1 || !s.bounded(first, begin-1) {
		return begin
	}
	return first
}

// sequence tries the groups that begin at begin, all of them first, then one less and
// so on. The first digit is at from. When there is nothing, it goes on behind the first group.
func (s *scanner) sequence(begin, from int) Finding {
	var groups [mostGroups]group
	n := s.groups(begin, from, &groups)
	if n == 0 {
		return Finding{}
	}
	if end := groups[0].end; end < len(s.text) && s.text[end] == ':' && end-begin <= 4 {
		s.at = end // perhaps an address in hexadecimal
		return Finding{}
	}
	s.at = groups[0].end
	if n >= 3 {
		if f := s.timed(begin, groups[n-1].end); f.Kind != None {
			return f
		}
	}
	for k := n - 1; k >= 0; k-- {
		cell := s.text[begin:groups[k].end]
		if !groups[k].plausible(k+1, cell) {
			continue
		}
		s.work += len(cell)
		if sure, _ := recognise(cell, classOf(cell)); sure != 0 {
			return s.found(sure, begin, groups[k].end)
		}
	}
	return Finding{}
}

// timed takes a date with a time of day, of which the groups end at the first colon.
func (s *scanner) timed(begin, end int) Finding {
	if end == len(s.text) || s.text[end] != ':' {
		return Finding{}
	}
	for end < len(s.text) && end-begin <= longest && (classes[s.text[end]]&(digit|colon|dot|dash|plus) != 0 || s.text[end] == 'Z') {
		end++
	}
	cell := bytes.TrimRight(s.text[begin:end], ".:-+")
	s.work += len(cell)
	if _, ok := dateOf(cell); !ok {
		return Finding{}
	}
	return Finding{Date, begin, begin + len(cell)}
}

// group is a group of letters and digits in a sequence, with counts from its beginning.
type group struct {
	end, digits, letters, dots int
	short                      bool // a group has fewer than three characters
}

// plausible says whether the first n groups may be something, by their counts alone: a
// sequence of many groups is seldom looked at more than twice.
func (g *group) plausible(n int, cell []byte) bool {
	all := g.digits + g.letters
	switch {
	case len(cell) < 7:
		return false
	case g.letters > 0 && n > 1:
		if classes[cell[0]]&letter != 0 && classes[cell[1]]&letter != 0 && ibanLength[country(cell[0]&^0x20, cell[1]&^0x20)] == uint8(all) {
			return true
		}
		return all == 9 || all == 12 || all == 15 && n == 7 || n == 3 && g.letters == 3
	case g.letters > 0:
		return true
	case classes[cell[0]] != digit || cell[0] == '0':
		return g.digits >= 7 && g.digits <= 17 || n == 3 || g.dots == 3
	case n == 1:
		return g.digits >= 8
	case g.digits >= 12 && g.digits <= 19 && !g.short: // a card
		return true
	case n == 2:
		return g.digits >= 10 && g.digits <= 15
	case n == 3:
		return g.digits >= 6 && g.digits <= 12
	case n == 4:
		return g.dots == 3 || g.digits == 11
	}
	return n == 7 && g.digits == 15
}

// groups finds the ends of the groups of letters and digits that one separator or a
// parenthesis joins. It moves over a first group that is too long.
func (s *scanner) groups(begin, from int, out *[mostGroups]group) (n int) {
	end, singles := from, 0
	var so group
	for _, c := range s.text[begin:from] {
		if classes[c]&letter != 0 {
			so.letters++
		}
	}
	for n < len(out) {
		start, digits := end, so.digits
		for end < len(s.text) && classes[s.text[end]]&(letter|digit) != 0 {
			if end-begin > longest && n > 0 {
				return n
			}
			if classes[s.text[end]] == digit {
				so.digits++
			} else {
				so.letters++
			}
			end++
		}
		if n == 0 && end-begin > longest {
			s.at = end
			return 0
		}
		if end == start || end-begin > longest || digits == so.digits && !joins(s.text[start:end]) {
			return n
		}
		if end-start == 1 && n > 0 {
			if singles++; singles > 3 {
				return n
			}
		}
		so.end, so.short = end, so.short || end-start < 3
		out[n] = so
		n++
		if end == len(s.text) {
			return n
		}
		switch c := s.text[end]; {
		case c == ' ' || c == '-' || c == '.' || c == '/' || c == ')':
			if c == '.' {
				so.dots++
			}
			end++
			if end < len(s.text) && (c == ')' && s.text[end] == ' ' || c == ' ' && s.text[end] == '(') {
				end++
			}
		default:
			return n
		}
	}
	return n
}

// joins says whether a word without a digit may be a group: letters of an IBAN, or a month.
func joins(word []byte) bool {
	return len(word) <= 4 && classOf(word) == upper || len(word) == 3 && monthOf(word) != 0
}

// found names the kind that is least left to chance.
func (s *scanner) found(set Set, begin, end int) Finding {
	best := None
	for k := range set.Kinds() {
		if about[k].chance < about[best].chance {
			best = k
		}
	}
	return Finding{best, begin, end}
}

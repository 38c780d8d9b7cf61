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
		return s.url(begin)
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
	return s.url(i - 3)
}

// url looks at the host first, and goes to the end only if there is one.
func (s *scanner) url(begin int) Finding {
	head := s.text[begin:min(len(s.text), begin+maxCell)]
	if i := bytes.IndexAny(head, " \t\r\n\"'<>"); i >= 0 {
		head = head[:i]
	}
	// A URL has one "://": what follows another is looked at with that one.
	if i := bytes.Index(head[min(len(head), 3):], []byte("://")); i >= 0 {
		if j := bytes.Index(head[min(len(head), i+6):], []byte("://")); j >= 0 {
			head = head[:i+6+j]
		}
	}
	s.work += len(head)
	host := bytes.TrimRight(head, ".,;:!?)]}")
	if i := bytes.IndexAny(host[min(len(host), 16):], "/?#)"); i >= 0 {
		host = host[:16+i]
	}
	if !isURL(host) {
		return Finding{}
	}
	end := begin + len(host)
	for end < len(s.text) && s.text[end] > ' ' && s.text[end] != '"' && s.text[end] != '<' && s.text[end] != '>' && s.text[end] != '\'' {
		end++
	}
	for end > begin+len(host) && bytes.IndexByte([]byte(".,;:!?)]}"), s.text[end-1]) >= 0 {
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
	var ends [mostGroups]int
	n := s.groups(begin, from, &ends)
	if n == 0 {
		return Finding{}
	}
	if end := ends[0]; end < len(s.text) && s.text[end] == ':' && end-begin <= 4 {
		s.at = end // perhaps an address in hexadecimal
		return Finding{}
	}
	s.at = ends[0]
	if end := ends[n-1]; n >= 3 && end < len(s.text) && s.text[end] == ':' {
		for end < len(s.text) && end-begin <= longest && (classes[s.text[end]]&(digit|colon|dot|dash|plus) != 0 || s.text[end] == 'Z') {
			end++
		}
		end -= len(s.text[begin:end]) - len(bytes.TrimRight(s.text[begin:end], ".:-+"))
		s.work += end - begin
		if _, ok := dateOf(s.text[begin:end]); ok {
			return Finding{Date, begin, end} // with its time of day
		}
	}
	for k := n - 1; k >= 0; k-- {
		cell := s.text[begin:ends[k]]
		if len(cell) < 7 {
			break
		}
		s.work += len(cell)
		if sure, _ := recognise(cell, classOf(cell)); sure != 0 {
			return s.found(sure, begin, ends[k])
		}
	}
	return Finding{}
}

// groups finds the ends of the groups of letters and digits that one separator or a
// parenthesis joins. It moves over a first group that is too long.
func (s *scanner) groups(begin, from int, ends *[mostGroups]int) (n int) {
	end, singles := from, 0
	for n < len(ends) {
		start, digits := end, n == 0
		for end < len(s.text) && classes[s.text[end]]&(letter|digit) != 0 {
			if end-begin > longest && n > 0 {
				return n
			}
			digits = digits || classes[s.text[end]] == digit
			end++
		}
		if n == 0 && end-begin > longest {
			s.at = end
			return 0
		}
		if end == start || end-begin > longest || !digits && !joins(s.text[start:end]) {
			return n
		}
		if end-start == 1 && n > 0 {
			if singles++; singles > 3 {
				return n
			}
		}
		ends[n] = end
		n++
		if end == len(s.text) {
			return n
		}
		switch c := s.text[end]; {
		case c == ' ' || c == '-' || c == '.' || c == '/' || c == ')':
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

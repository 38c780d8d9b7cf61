// Package quote writes names and values that come from a table into a sentence.
//
// Whoever made the table chose them: a header may have thousands of columns, a cell a
// mebibyte, and either may have characters that act on a terminal or begin a line. An
// error that repeated them would be as long, and would say what they want it to say.
//
//	[Name]    age                      "a\nb"    "aaaa"…
//	[Names]   age, zip, sex and 997 more
//	[Value]   "M"                      "a\nb"    "aaaa"…
//
// What a person reads at length, such as a report, has all of it and does not use this
// package.
package quote

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much a sentence takes.
const (
	MaxRunes = 80 // of a name or a value
	MaxNames = 20 // of a list
)

// Name is the name of a column: as it is where it is short and every character of it
// shows, and otherwise as a [Value].
func Name(name string) string {
	if name == "" || tooLong(name) || !utf8.ValidString(name) || strings.ContainsFunc(name, hidden) {
		return Value(name)
	}
	return name
}

// Names is a list of names, of which the first stand there and the others are counted.
func Names(names []string) string {
	first := make([]string, min(len(names), MaxNames))
	for i := range first {
		first[i] = Name(names[i])
	}
	list := strings.Join(first, ", ")
	if more := len(names) - len(first); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// Value is a value in quotes, with escapes for what would not show. An ellipsis after the
// quotes stands for the rest of a long one.
func Value(value string) string {
	if !tooLong(value) {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%.*q…", MaxRunes, value)
}

// tooLong looks at no more of a text than it takes.
func tooLong(s string) bool {
	runes := 0
	for range s {
		if runes++; runes > MaxRunes {
			return true
		}
	}
	return false
}

// hidden are characters that do not show, or act on what is around them. Joiners are not among
// them: Persian and others are not written without.
func hidden(r rune) bool { return !unicode.IsPrint(r) && r != '\u200c' && r != '\u200d' }

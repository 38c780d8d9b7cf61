package fault

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSentence bounds a message and a hint, in bytes.
const maxSentence = 2 << 10

// sentence makes one line of a text that may quote names, files and peers: the lines of
// errors that were joined follow one another, what would act on a terminal or turn the
// direction of writing becomes a space, and what is too long is cut and says so.
func sentence(text string) string {
	if len(text) <= maxSentence && !strings.ContainsFunc(text, Acts) && utf8.ValidString(text) {
		return text
	}
	if len(text) > maxSentence {
		end := maxSentence - len("…")
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "…"
	}
	var out strings.Builder
	for line := range strings.Lines(strings.ToValidUTF8(text, "?")) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if Acts(r) {
				return ' '
			}
			return r
		}, line))
		if line == "" {
			continue
		}
		if out.Len() > 0 {
			out.WriteString("; ")
		}
		out.WriteString(line)
	}
	return out.String()
}

// Acts reports a character that acts on a terminal or a line, or turns the direction of
// writing, instead of standing there.
func Acts(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}

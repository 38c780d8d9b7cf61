package detect

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestTextsAreRedacted(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"nothing here, 42 times (or 43)":      "nothing here, 42 times (or 43)",
		"Write to jane@example.com.":          "Write to [e-mail].",
		"<jane@example.com>,bob@example.org;": "<[e-mail]>,[e-mail];",
		"mailto:jane@example.com":             "mailto:[e-mail]",
		"Call +44 20 7946 0958 or 030/901820-12 today":               "Call [phone] or [phone] today",
		"Tel:(202) 555-0143.":                                        "Tel:[phone].",
		"SSN 457-55-5462, born 1985-04-12":                           "SSN [US SSN], born [date]",
		"born 12.4.1985, seen 04/12/2001.":                           "born [date], seen [date].",
		"IBAN DE89 3704 0044 0532 0130 00 is mine":                   "IBAN [IBAN] is mine",
		"IBAN GB29 NWBK 6016 1331 9268 19":                           "IBAN [IBAN]",
		"card 4111 1111 1111 1111 exp 12/27":                         "card [payment card] exp 12/27",
		"from 192.0.2.1, port 80":                                    "from [IP address], port 80",
		"from 192.0.2.1.":                                            "from [IP address].",
		"peer fe80::1 and 2001:db8::8:800:200c:417a.":                "peer [IP address] and [IP address].",
		"[2001:db8::1]:443":                                          "[[IP address]]:443",
		"nic 00:00:5e:00:53:ff/00-00-5E-00-53-01?":                   "nic [MAC address]/[MAC address]?",
		"see https://example.com/a?b=c, or www.example.org/x.":       "see [URL], or [URL].",
		"(http://example.com/~jane)":                                 "([URL])",
		"ratio 1:2:3 at 12:30:45, e.g. 3.14":                         "ratio 1:2:3 at 12:30:45, e.g. 3.14",
		"CF RSSMRA85T10A562S; NINO AB 12 34 56 C":                    "CF [Italian codice fiscale]; NINO [UK NINO]",
		"order 12345, 0171 1234567":                                  "order 12345, [phone]",
		"ids 12345 0171 1234567":                                     "ids 12345 [phone]",
		"Zoë, jane@example.com, 日本 jane@example.com":                 "Zoë, [e-mail], 日本 [e-mail]",
		"x@@y jane@example..com a@b":                                 "x@@y jane@example..com a@b",
		"http://a.example/http://b.example":                          "[URL]",
		"at http:// or ://x www. wwww.x.com":                         "at http:// or ://x www. wwww.x.com",
		strings.Repeat("9", 60) + " " + strings.Repeat("a1", 60):     strings.Repeat("9", 60) + " " + strings.Repeat("a1", 60),
		strings.Repeat("x", 90) + "1 jane@example.com":               strings.Repeat("x", 90) + "1 [e-mail]",
		"jane@example.com" + strings.Repeat(" ", 3) + "+12025550143": "[e-mail]   [phone]",
	} {
		got, n := Redact([]byte("before "), []byte(text))
		if string(got) != "before "+want {
			t.Errorf("%q\nbecame %q\nwant   %q", text, got, want)
		}
		if n == 0 != (text == want) {
			t.Errorf("%q: %d findings", text, n)
		}
	}
}

// What validates as a cell is found in a sentence, whole.
func TestCellsAreFoundInSentences(t *testing.T) {
	for k := Email; k < kinds; k++ {
		for _, cell := range valid[k] {
			if k == Coordinates || strings.ContainsAny(cell, "用") {
				continue // a comma ends a group; letters beyond ASCII end an address in a text
			}
			text := "It is " + cell + ", he said"
			got, _ := Redact(nil, []byte(text))
			if bytes.Contains(got, []byte(cell)) || !bytes.HasPrefix(got, []byte("It is ")) || !bytes.HasSuffix(got, []byte(" he said")) {
				t.Errorf("%v: %q becomes %q", k, text, got)
			}
			for f := range Find([]byte(text)) {
				if f.Start != 6 || k != URL && f.End != 6+len(strings.TrimSuffix(cell, " PM")) {
					t.Errorf("%v: of %q it finds %q", k, text, text[f.Start:f.End])
				}
			}
		}
	}
}

// hostile are texts that make a scanner look at bytes again and again, repeated to a length.
var hostile = []string{"@", "a@", "a@a", ".@.", "1", "1 ", "12 ", "1234 ", "1.1.", "1.", "12-34-", "A1", "GB29 ", "GB29 NWBK ", ":", "::", "a:", "1:", "://", "http://", "http://a.b", "http://a", "www.", "www.a.b/",
	"+1", "(1", "(1) ", "+", "+1 2", "1/1/", "a.", "a-", "1a ", "AB1 ", "00:", "fe80::", "1-", "0 0 0 0", "1  ", "1) (", "9999999999 ", "x", "é", "\xff", " ", "a@b.c", "0171 ", "4111 1111 1111 111 ", "12.12.19", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@"}

func filled(pattern string, size int) []byte {
	return []byte(strings.Repeat(pattern, size/len(pattern)+1))[:size]
}

// A text of one unit over and over is scanned and counts no more work per byte when it
// is longer: work is counted in bytes that the detectors are given.
func TestScansAreLinear(t *testing.T) {
	work := func(text []byte) int {
		s := scanner{text: text}
		for ok := true; ok; {
			_, ok = s.next()
		}
		return s.work
	}
	worst := 0.0
	for _, pattern := range hostile {
		short, long := work(filled(pattern, 20_000)), work(filled(pattern, 200_000))
		worst = max(worst, float64(long)/200_000)
		if long > 12*short+1000 {
			t.Errorf("%q: %d bytes of work for 20,000 and %d for 200,000", pattern, short, long)
		}
	}
	if worst > 120 {
		t.Errorf("up to %.0f bytes are looked at for one of the text", worst)
	}
	if worst == 0 {
		t.Error("no work was counted")
	}
}

func FuzzRedact(f *testing.F) {
	for _, pattern := range hostile {
		f.Add(filled(pattern, 100))
	}
	f.Add([]byte("Write to jane@example.com, +44 20 7946 0958, 4111 1111 1111 1111, fe80::1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var parts []byte
		from, n := 0, 0
		for g := range Find(text) {
			parts = append(append(parts, text[from:g.Start]...), "["+g.Kind.String()+"]"...)
			from, n = g.End, n+1
		}
		parts = append(parts, text[from:]...)
		got, m := Redact(nil, text)
		if !bytes.Equal(got, parts) || m != n {
			t.Fatal("what is found is not what is redacted")
		}
	})
}

// One core, a line of 10 MB: the bar is a second. The metric is of CPU time.
func BenchmarkHostileLine(b *testing.B) {
	for _, pattern := range hostile {
		line := filled(pattern, 10_000_000)
		b.Run(fmt.Sprintf("%.12q", pattern), func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			before := cpuSeconds(b)
			for b.Loop() {
				in, err := NewInspector([]string{"line"}, Config{Now: now})
				if err != nil {
					b.Fatal(err)
				}
				if err := in.Add([][]byte{line}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds(b)-before)/float64(b.N), "cpu-s/line")
		})
	}
}

func BenchmarkRandomLine(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	line := make([]byte, 10_000_000)
	for i := range line {
		line[i] = "0123456789 -./()+@:abcABC"[random.IntN(25)]
	}
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		Redact(nil, line)
	}
}

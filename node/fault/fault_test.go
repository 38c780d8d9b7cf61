package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestOfFindsTheFault(t *testing.T) {
	f := New(Denied, "ask", "no %s", "way")
	for _, err := range []error{f, fmt.Errorf("get: %w", f), errors.Join(errors.New("first"), f)} {
		if got := Of(err); got != f {
			t.Errorf("%v gives %v", err, got)
		}
	}
	if f.Error() != "no way" {
		t.Errorf("%q", f.Error())
	}
}

// Who asks for the exit code of what did not fail gets 0 and no panic.
func TestOfNothing(t *testing.T) {
	if f := Of(nil); f == nil || f.Exit != OK || f.Error() == "" || f.Unwrap() != nil {
		t.Errorf("%#v", f)
	}
	var none *Error
	for _, err := range []error{none, fmt.Errorf("outer: %w", error(none))} { // not nil, though what it holds is
		if f := Of(err); f == nil || f.Exit != Failed || f.Message == "" {
			t.Errorf("an error around no fault gives %#v", f)
		}
	}
}

func TestOfMakesThePlainestOne(t *testing.T) {
	for _, c := range []struct {
		err  error
		exit int
	}{
		{errors.New("plain"), Failed},
		{fmt.Errorf("read: %w", context.Canceled), Failed},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), Unavailable},
	} {
		if f := Of(c.err); f.Exit != c.exit || f.Message == "" || !errors.Is(f, c.err) {
			t.Errorf("%v gives %#v", c.err, f)
		}
	}
}

// A fault that holds another error keeps the exit code of the outer one.
func TestWrap(t *testing.T) {
	f := Wrap(Integrity, fs.ErrNotExist, "look", "the file %d", 7)
	if f.Exit != Integrity || !errors.Is(f, fs.ErrNotExist) || f.Message != "the file 7: "+fs.ErrNotExist.Error() {
		t.Errorf("%#v", f)
	}
	if outer := Wrap(Usage, f, "", "again"); Of(outer).Exit != Usage {
		t.Errorf("%#v", Of(outer))
	}
}

// On the wire there are the three fields that a person sees, and not the cause.
func TestJSON(t *testing.T) {
	raw, err := json.Marshal(Wrap(NotFound, errors.New("inner"), "look", "thing"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(raw); got != `{"exit":4,"message":"thing: inner","hint":"look"}` {
		t.Error(got)
	}
	if raw, _ := json.Marshal(New(Failed, "", "x")); strings.Contains(string(raw), "hint") {
		t.Errorf("%s", raw)
	}
}

// What a peer, a file or a table wrote stands in the sentence, and does not begin another
// line, act on a terminal, turn the words around it, or fill a screen.
func TestAFaultIsOneSentence(t *testing.T) {
	for from, want := range map[string]string{
		"no way":                        "no way",
		"first\nsecond\n":               "first; second",
		"a:\r\n\n\tb":                   "a:; b",
		"no\ncerebrum: granted\x1b[2J":  "no; cerebrum: granted [2J",
		"a \u202egpj.exe\u2028it holds": "a  gpj.exe it holds",
		"a\xffb":                        "a?b",
		"Zoë می\u200cخواهم":             "Zoë می\u200cخواهم",
	} {
		for _, f := range []*Error{New(Failed, from, "%s", from), Of(errors.New(from)), Wrap(Failed, errors.New(from), from, "it")} {
			if got := strings.TrimPrefix(f.Message, "it: "); got != want || f.Hint != "" && f.Hint != want {
				t.Errorf("%q became %q with the hint %q", from, got, f.Hint)
			}
		}
	}
	for _, long := range []string{strings.Repeat("a", 1<<20), strings.Repeat("é", 1<<20), strings.Repeat("\n", 1<<20) + "x", "\xff" + strings.Repeat("\x80", 1<<20)} {
		f := New(Failed, "", "%s", long)
		if len(f.Message) > 3*maxSentence || strings.Contains(f.Message, "\n") || !strings.Contains(f.Message, "…") {
			t.Errorf("%d bytes became %d: %.20q", len(long), len(f.Message), f.Message)
		}
	}
}

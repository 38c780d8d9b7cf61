package operate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/words"
)

// Form is how an operator is written down, what it does and what it leaves open.
type Form struct {
	Name, Args string
	Does       string // in a few words
	// Leaves is a sentence without its subject, which is the column, or empty.
	Leaves string
	// Key says that a key is used, and Kept that it has to be one that somebody keeps.
	Key, Kept bool

	make     func(w *arguments, s Setting) (Operator, error)
	together func(w *arguments, columns int) ([]Operator, error)
}

// Setting is what operators may need beside their arguments.
type Setting struct {
	Key     Key
	Dataset string    // what keyed operators are bound to
	Now     time.Time // of which ages are counted

	column string
}

func (s Setting) place() Place { return Place{Dataset: s.Dataset, Column: s.column} }

const (
	keptEqual = "Equal values stay equal in it, which keeps the rows of one person together"
	undone    = "whoever has the key can undo it"
)

var forms = []Form{
	{Name: "suppress", Args: "[:TEXT]", Does: "one text for every value, * without TEXT",
		make: func(w *arguments, _ Setting) (Operator, error) { return Suppress{With: w.all()}, nil }},
	{Name: "generalise", Args: ":LEVEL", Does: "the group at a level of its --hierarchy",
		make: func(w *arguments, _ Setting) (Operator, error) { return levelled(w.Whole()) }},
	{Name: "bucket", Args: ":WIDTH[,BASE]", Does: "the interval of a number; 10.0 for decimals",
		make: func(w *arguments, _ Setting) (Operator, error) { return bucket(w) }},
	{Name: "code", Args: ":BOTTOM,TOP", Does: "one text for all below, one for all above",
		Leaves: "Numbers between the limits are published as they are.",
		make: func(w *arguments, _ Setting) (Operator, error) {
			return NewCode(w.realOr(math.Inf(-1)), w.realOr(math.Inf(1)), "", "")
		}},
	{Name: "mask", Args: ":SHOWN,SIDE", Does: "* for all but some first or last characters",
		Leaves: "The characters that are shown and the length of what is hidden may be enough to know a value.",
		make:   func(w *arguments, _ Setting) (Operator, error) { return mask(w) }},
	{Name: "shift", Args: ":DAYS,SUBJECT", Does: "dates moved, all of one subject alike", Key: true,
		Leaves: "The time between the dates of one person, and times of day, stay what they are: whoever knows one date of a person knows all of them.",
		make:   func(w *arguments, s Setting) (Operator, error) { return NewDateShift(s.Key, s.Dataset, w.Whole()) }},
	{Name: "pseudonym", Does: "a keyed hash; nobody can undo it", Key: true,
		Leaves: keptEqual + ", and whoever has the key can try values.",
		make:   func(w *arguments, s Setting) (Operator, error) { return NewPseudonym(s.Key, s.place()) }},
	{Name: "reversible", Does: "encrypted; `anonymize reverse` undoes it", Key: true, Kept: true,
		Leaves: keptEqual + ", lengths can be seen, and " + undone + ".",
		make:   func(w *arguments, s Setting) (Operator, error) { return NewReversible(s.Key, s.place()) }},
	{Name: "ff1", Args: ":ALPHABET", Does: "encrypted; digits, digits-upper, alphanumeric", Key: true, Kept: true,
		Leaves: keptEqual + ", lengths and separators can be seen, a change goes unnoticed, and " + undone + ".",
		make:   func(w *arguments, s Setting) (Operator, error) { return format(s, w.Next()) }},
	{Name: "noise", Args: ":SHAPE,SCALE[,LOW,HIGH[,DECIMALS]]", Does: "a number added; laplace or gaussian",
		Leaves: "Noise on cells is no guarantee by itself and no differential privacy: rare values stay rare, and the mean over rows of one person is near the true one.",
		make:   func(w *arguments, _ Setting) (Operator, error) { return noise(w) }},
	{Name: "microaggregate", Args: ":K[,DECIMALS]", Does: "the mean of K alike rows or more",
		Leaves:   "Each mean is shared by K rows or more; it says nothing of these columns together with others, and rows that are alike have a mean that is near to each.",
		together: microaggregate},
	{Name: "redact", Does: "[e-mail] and the like in free text",
		make: func(*arguments, Setting) (Operator, error) { return Redact{}, nil }},
	{Name: "zip3", Does: "three digits of a US ZIP code, or 000",
		make: func(*arguments, Setting) (Operator, error) { return ZIP3{}, nil }},
	{Name: "year", Does: "the year of a date",
		make: func(_ *arguments, s Setting) (Operator, error) { return NewYear(s.Now.Year() - OldestAge) }},
	{Name: "ages-to-89", Does: "ages, and 90+ for all above 89",
		make: func(*arguments, Setting) (Operator, error) { return AgesOf90(), nil }},
}

// Forms is the operators that [Parse] reads.
func Forms() []Form { return slices.Clone(forms) }

// FormOf finds the form of OPERATOR or OPERATOR:ARGS.
func FormOf(text string) (Form, error) {
	name, _, _ := strings.Cut(text, ":")
	for _, f := range forms {
		if f.Name == name {
			return f, nil
		}
	}
	var names []string
	for _, f := range forms {
		names = append(names, f.Name)
	}
	return Form{}, fmt.Errorf("there is no operator %.80q: the operators are %s", name, strings.Join(names, ", "))
}

// Parse reads what is done to columns as a person writes it, OPERATOR or OPERATOR:ARGS as
// in [Forms]. There is a step for each column. Operators that have one state for several
// columns, or for both passes over a table, are not for two tables at a time.
func Parse(text string, columns []string, s Setting) ([]Step, error) {
	f, err := FormOf(text)
	if err != nil {
		return nil, err
	}
	_, args, given := strings.Cut(text, ":")
	written := func() *arguments {
		w := &arguments{}
		if given {
			w.Rest = strings.Split(args, ",")
		}
		return w
	}
	ops, subject := make([]Operator, len(columns)), ""
	w := written()
	if f.together != nil {
		ops, err = f.together(w, len(columns))
	}
	for i, c := range columns {
		if f.together != nil || err != nil {
			break
		}
		w, s.column = written(), c
		if ops[i], err = f.make(w, s); f.Name == "shift" {
			subject = w.Next()
			w.Bad = w.Bad || subject == ""
		}
	}
	if w.Bad || len(w.Rest) > 0 {
		return nil, fmt.Errorf("%s is written %s%s, and not %.80q", f.Name, f.Name, f.Args, text)
	}
	if err != nil {
		return nil, err
	}
	var steps []Step
	for i, c := range columns {
		steps = append(steps, Step{Column: c, Operator: ops[i], Subject: subject, Name: text, Leaves: f.Leaves})
	}
	return steps, nil
}

func levelled(level int) (Operator, error) {
	if level < 0 {
		return nil, fmt.Errorf("there is no level %d: 0 is the value", level)
	}
	return &Generalise{level: level}, nil
}

// bucket is of whole numbers, unless an argument is written with decimals.
func bucket(w *arguments) (Operator, error) {
	whole := !strings.Contains(strings.Join(w.Rest, ","), ".")
	width, base := w.Real(), w.realOr(0)
	return NewBucket(width, base, whole && width == math.Trunc(width) && base == math.Trunc(base))
}

func mask(w *arguments) (Operator, error) {
	n, side := w.Whole(), w.Next()
	switch {
	case n < 0:
		return nil, errors.New("so many characters cannot be shown: 0 hides all of them")
	case side == "first":
		return Mask{First: n}, nil
	case side == "last":
		return Mask{Last: n}, nil
	}
	w.Bad = true
	return nil, nil
}

func format(s Setting, alphabet string) (Operator, error) {
	named := map[string]string{"digits": Digits, "digits-upper": DigitsUpper, "alphanumeric": Alphanumeric}
	if named[alphabet] == "" {
		return nil, fmt.Errorf("there is no alphabet %.80q: the alphabets are digits, digits-upper and alphanumeric", alphabet)
	}
	return NewFormat(s.Key, s.place(), named[alphabet])
}

func noise(w *arguments) (Operator, error) {
	shape, scale := w.Next(), w.Real()
	low, high, decimals := w.realOr(math.Inf(-1)), w.realOr(math.Inf(1)), w.wholeOr(defaultDecimals)
	shapes := map[string]Shape{"laplace": Laplace, "gaussian": Gaussian}
	which, ok := shapes[shape]
	if !ok {
		w.Bad = true
		return nil, nil
	}
	return NewNoise(which, scale, low, high, decimals)
}

// defaultDecimals of numbers that are computed.
const defaultDecimals = 2

func microaggregate(w *arguments, columns int) (ops []Operator, err error) {
	g, err := NewGroups(w.Whole(), w.wholeOr(defaultDecimals), columns)
	for i := 0; err == nil && i < columns; i++ {
		ops = append(ops, g.Column(i))
	}
	return ops, err
}

// arguments are those of an operator.
type arguments struct{ words.Words }

// all is everything that is left, commas included.
func (w *arguments) all() string {
	text := strings.Join(w.Rest, ",")
	w.Rest = nil
	return text
}

// empty takes an argument that is empty or not there.
func (w *arguments) empty() bool {
	if len(w.Rest) > 0 && strings.TrimSpace(w.Rest[0]) != "" {
		return false
	}
	w.Rest = w.Rest[min(1, len(w.Rest)):]
	return true
}

func (w *arguments) wholeOr(otherwise int) int {
	if w.empty() {
		return otherwise
	}
	return w.Whole()
}

func (w *arguments) realOr(otherwise float64) float64 {
	if w.empty() {
		return otherwise
	}
	return w.Real()
}

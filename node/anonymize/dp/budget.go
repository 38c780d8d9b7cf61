package dp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cerebrum.dev/cerebrum/crypto/keystore/disk"
)

var (
	// ErrSpent means that a question costs more than is left.
	ErrSpent = errors.New("the budget is spent")
	// ErrBusy means that another process spends from the budget at this moment.
	ErrBusy = errors.New("another process is spending from this budget: ask again when it is done")
	// ErrDamaged means that the file of a budget is not what was written. Nothing is
	// answered from it.
	ErrDamaged = errors.New("the file of the budget is damaged")
	// ErrOther means that a file is the budget of another dataset, or has another limit.
	ErrOther = errors.New("it is not the budget that was asked for")
)

// Cost is what an answer may tell of one person, or how much a dataset may ever tell.
type Cost struct {
	Epsilon float64 // above 0
	Delta   float64 // 0 for pure differential privacy, and well below 1 over the number of people otherwise
}

// Bounds of a cost. Above an epsilon of 20 little is hidden; below the least one, noise is all there is.
const (
	MinEpsilon = 1e-6
	MaxEpsilon = 20
	MaxDelta   = 1e-3
)

func (c Cost) check() error {
	if !(c.Epsilon >= MinEpsilon && c.Epsilon <= MaxEpsilon) {
		return fmt.Errorf("epsilon is %v and has to be between %g and %g", c.Epsilon, MinEpsilon, float64(MaxEpsilon))
	}
	if !(c.Delta >= 0 && c.Delta <= MaxDelta) || c.Delta > 0 && c.Delta < 1e-15 {
		return fmt.Errorf("delta is %v and has to be 0, or between 1e-15 and %g", c.Delta, MaxDelta)
	}
	return nil
}

// Costs are kept as whole numbers, so that sums are exact: epsilon in billionths and
// delta in units of 1e-18. Spending is rounded up and limits down, but for what is
// within a millionth of a unit.
type units struct{ epsilon, delta int64 }

const (
	perEpsilon = 1e9
	perDelta   = 1e18
)

func (c Cost) up() units {
	return units{int64(math.Ceil(c.Epsilon*perEpsilon - 1e-6)), int64(math.Ceil(c.Delta*perDelta - 1e-6))}
}

func (c Cost) down() units {
	return units{int64(math.Floor(c.Epsilon*perEpsilon + 1e-6)), int64(math.Floor(c.Delta*perDelta + 1e-6))}
}

func (u units) cost() Cost {
	return Cost{float64(u.epsilon) / perEpsilon, float64(u.delta) / perDelta}
}

// Budget is what a dataset may tell, in a file that lasts. The file is a text, one line
// for the limit and one for each answer:
//
//	cerebrum budget 1 <dataset, hex> <epsilon> <delta> <check>
//	<seconds since 1970> <question> <epsilon> <delta> <check>
//
// The check of a line is 32 hexadecimal digits of SHA-256 over the check before it and
// the line, so that damage is found. It is no seal: who may write the file can write
// another. An unfinished last line, of a crash, was never acknowledged and is written
// over. The file is locked while it is read and written, and at no other time.
type Budget struct {
	path    string
	dataset string
	limit   units
	now     func() time.Time
}

const (
	head        = "cerebrum budget 1"
	maxFile     = 16 << 20
	maxName     = 1 << 10
	checkDigits = 32
)

// Open opens the budget of a dataset, and makes its file where there is none, mode 0600,
// durable on return. A limit is set once, and never raised: the error is [ErrOther] if
// the file has another dataset or another limit. A limit of Cost{} is whatever the file
// has, and makes none.
func Open(path, dataset string, limit Cost, now func() time.Time) (*Budget, error) {
	if dataset == "" || len(dataset) > maxName {
		return nil, fmt.Errorf("the name of a dataset has 1 to %d bytes, not %d", maxName, len(dataset))
	}
	set := limit != Cost{}
	if set {
		if err := limit.check(); err != nil {
			return nil, fmt.Errorf("the budget cannot be that: %w", err)
		}
	}
	b := &Budget{path: path, dataset: dataset, limit: limit.down(), now: now}
	if !set {
		if err := disk.Regular(path); err != nil {
			return nil, fmt.Errorf("%s has no budget yet, say how much may ever be told of it: %w", dataset, err)
		}
	}
	return b, b.locked(func(f *disk.File, s state) error {
		switch {
		case s.begun && s.dataset != dataset:
			return fmt.Errorf("%w: %s is that of another dataset", ErrOther, filepath.Base(path))
		case s.begun && set && s.limit != b.limit:
			return fmt.Errorf("%w: the budget of %s was set to %v for good", ErrOther, dataset, s.limit.cost())
		case s.begun:
			b.limit = s.limit
			return nil
		case !set:
			return fmt.Errorf("%s has no budget yet: say how much may ever be told of it", dataset)
		}
		return s.write(f, fmt.Sprintf("%s %s %d %d", head, hex.EncodeToString([]byte(dataset)), b.limit.epsilon, b.limit.delta))
	})
}

func (c Cost) String() string {
	if c.Delta == 0 {
		return fmt.Sprintf("epsilon %v", c.Epsilon)
	}
	return fmt.Sprintf("epsilon %v and delta %v", c.Epsilon, c.Delta)
}

// Limit is how much the dataset may ever tell.
func (b *Budget) Limit() Cost { return b.limit.cost() }

// Left is how much of the limit is not spent.
func (b *Budget) Left() (left Cost, err error) {
	err = b.locked(func(_ *disk.File, s state) error {
		if err := b.same(s); err != nil {
			return err
		}
		left = units{b.limit.epsilon - s.spent.epsilon, b.limit.delta - s.spent.delta}.cost()
		return nil
	})
	return left, err
}

// spend records a cost, durably on return, or refuses it.
func (b *Budget) spend(c Cost, question string) error {
	u := c.up()
	return b.locked(func(f *disk.File, s state) error {
		if err := b.same(s); err != nil {
			return err
		}
		left := units{b.limit.epsilon - s.spent.epsilon, b.limit.delta - s.spent.delta}
		if u.epsilon > left.epsilon || u.delta > left.delta {
			return fmt.Errorf("%w: %v of %v is left of %s, and the question costs %v; ask for less, or work with the answers that you have",
				ErrSpent, left.cost(), b.limit.cost(), b.dataset, c)
		}
		return s.write(f, fmt.Sprintf("%d %s %d %d", b.now().Unix(), question, u.epsilon, u.delta))
	})
}

// same makes sure that nobody put another file in the place.
func (b *Budget) same(s state) error {
	if !s.begun || s.dataset != b.dataset || s.limit != b.limit {
		return fmt.Errorf("%w: %s has changed", ErrOther, filepath.Base(b.path))
	}
	return nil
}

// locked runs fn while no other process, and nobody else in this one, has the file.
func (b *Budget) locked(fn func(*disk.File, state) error) error {
	f, err := disk.Open(b.path)
	if errors.Is(err, disk.ErrLocked) {
		return ErrBusy
	}
	if err != nil {
		return err
	}
	s, err := load(f)
	if err == nil {
		err = fn(f, s)
	}
	return errors.Join(err, f.Close())
}

// state is what a file says.
type state struct {
	begun   bool
	dataset string
	limit   units
	spent   units
	check   string // of the last line
	end     int64  // of the last line
}

func load(f *disk.File) (state, error) {
	size, err := f.Size()
	if err != nil {
		return state{}, err
	}
	if size > maxFile {
		return state{}, fmt.Errorf("%w: it has %d bytes", ErrDamaged, size)
	}
	raw := make([]byte, size)
	if size > 0 {
		if n, err := f.ReadAt(raw, 0); n < len(raw) {
			return state{}, fmt.Errorf("reading the budget: %w", err)
		}
	}
	return parse(raw)
}

// parse reads whole lines; what follows the last is an unfinished one.
func parse(raw []byte) (s state, err error) {
	for number := 1; ; number++ {
		i := bytes.IndexByte(raw[s.end:], '\n')
		if i < 0 {
			break
		}
		if err := s.line(string(raw[s.end : s.end+int64(i)])); err != nil {
			return state{}, fmt.Errorf("%w: line %d %v", ErrDamaged, number, err)
		}
		s.end += int64(i) + 1
	}
	if rest := len(raw) - int(s.end); rest > maxLine {
		return state{}, fmt.Errorf("%w: it ends in %d bytes that are no line", ErrDamaged, rest)
	}
	return s, nil
}

const maxLine = 2*maxName + 128

func (s *state) line(line string) error {
	text, check, ok := cutLast(line)
	if !ok || check != chained(s.check, text) {
		return errors.New("does not follow from the one before")
	}
	rest, ok := text, true
	if !s.begun {
		if rest, ok = strings.CutPrefix(text, head+" "); !ok {
			return errors.New("does not say what it is")
		}
		rest = "0 " + rest // as many fields as a line of spending
	}
	fields := strings.Split(rest, " ")
	if len(fields) != 4 {
		return errors.New("does not have its fields")
	}
	_, err0 := strconv.ParseInt(fields[0], 10, 64)
	epsilon, err1 := strconv.ParseInt(fields[2], 10, 64)
	delta, err2 := strconv.ParseInt(fields[3], 10, 64)
	if err0 != nil || err1 != nil || err2 != nil || epsilon < 0 || delta < 0 || epsilon > MaxEpsilon*perEpsilon || delta > MaxDelta*perDelta {
		return errors.New("has a figure that is none")
	}
	if !s.begun {
		name, err := hex.DecodeString(fields[1])
		if err != nil || len(name) == 0 || len(name) > maxName {
			return errors.New("has no dataset")
		}
		s.begun, s.dataset, s.limit = true, string(name), units{epsilon, delta}
	} else {
		// Lines are written when they fit, so that sums stay below the limit.
		s.spent.epsilon, s.spent.delta = s.spent.epsilon+epsilon, s.spent.delta+delta
		if s.spent.epsilon > s.limit.epsilon || s.spent.delta > s.limit.delta {
			return errors.New("spends more than there is")
		}
	}
	s.check = check
	return nil
}

func cutLast(line string) (text, last string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}

func chained(before, text string) string {
	sum := sha256.Sum256([]byte(before + "\n" + text))
	return hex.EncodeToString(sum[:])[:checkDigits]
}

// write appends a line, durably on return. When it fails, the outcome is unknown, and
// what was to be answered is not.
func (s state) write(f *disk.File, text string) error {
	line := text + " " + chained(s.check, text) + "\n"
	if s.end+int64(len(line)) > maxFile {
		return errors.New("the file of the budget is full: too many questions were asked")
	}
	if err := f.Truncate(s.end); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(line), s.end); err != nil {
		return err
	}
	return f.Sync()
}

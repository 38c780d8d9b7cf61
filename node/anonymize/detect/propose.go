package detect

import "fmt"

// Preset is a rule by which a plan is made.
type Preset int

const (
	// General drops or pseudonymises direct identifiers and generalises quasi-identifiers, for
	// a model such as k-anonymity to finish.
	General Preset = iota
	// SafeHarbor is the method of 45 CFR 164.514(b)(2): the eighteen identifiers go, dates
	// become years, ages above 89 one category, and postal codes their first three digits
	// where more than 20,000 people live. It also asks that whoever releases the data knows of
	// no way to identify somebody with what remains, which no program can know.
	SafeHarbor
)

var presets = [...]string{"general", "HIPAA Safe Harbor"}

func (p Preset) String() string {
	if int(p) < len(presets) {
		return presets[p]
	}
	return "unknown"
}

// MarshalText gives the name.
func (p Preset) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Action is what is done to a column.
type Action int

// The actions, as package operate has them.
const (
	Keep Action = iota
	Drop
	Pseudonymise
	Generalise
	RedactText
	FirstThree // of a ZIP code
	YearOnly
	AgesTo89
)

var actions = [...]string{"keep", "drop", "pseudonymise", "generalise", "redact", "first three digits", "year only", "ages to 89"}

func (a Action) String() string {
	if int(a) < len(actions) {
		return actions[a]
	}
	return "unknown"
}

// MarshalText gives the name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Step is what is proposed for one column.
type Step struct {
	Column string
	Role   Role
	Action Action
	Shape  Shape // of the hierarchy, where it is generalised
	// Why is the reasons, a clause each.
	Why []string
}

// Plan is a proposal: a person reads it, changes it and is responsible for it.
type Plan struct {
	Preset Preset
	Steps  []Step // of every column, in their order
	// Quasi and Sensitive are the columns that a model of anonymity is given.
	Quasi, Sensitive []string
	// Notes is what a person has to know or to do, a sentence each.
	Notes []string
}

// NoteText is the note about free text.
const NoteText = "names and descriptions of people in free text have no pattern and are not found: a person has to review it, or it is dropped"

// Propose makes a plan.
func (r *Report) Propose(p Preset) *Plan {
	plan := &Plan{Preset: p}
	separates := map[string]bool{}
	if n := len(r.Sets); n > 0 {
		for _, name := range r.Sets[n-1].Columns {
			separates[name] = true
		}
	}
	text := false
	for i := range r.Columns {
		c := &r.Columns[i]
		s := Step{Column: c.Name, Role: c.Role, Shape: c.Shape, Why: append([]string(nil), c.Reasons...)}
		if p == SafeHarbor {
			s.Action = c.safeHarbor()
		} else {
			if c.Role == Plain && separates[c.Name] {
				s.Role = Quasi
				s.Why = append(s.Why, fmt.Sprintf("it tells %.0f %% of pairs of rows apart", 100*c.Ranking.Separation))
			}
			s.Action = s.Role.action(c)
		}
		switch {
		case s.Action == Drop || s.Action == Pseudonymise:
		case s.Role == Quasi:
			plan.Quasi = append(plan.Quasi, c.Name)
		case s.Role == Sensitive:
			plan.Sensitive = append(plan.Sensitive, c.Name)
		case s.Role == Plain:
			plan.Notes = append(plan.Notes, fmt.Sprintf("nothing was found about %s, and it is kept: make sure that nobody can know it from elsewhere", c.Name))
		}
		text = text || c.Role == Text
		plan.Steps = append(plan.Steps, s)
	}
	if text {
		plan.Notes = append(plan.Notes, NoteText)
	}
	plan.Notes = append(plan.Notes, notes[p]...)
	return plan
}

var notes = map[Preset][]string{
	General: {"the plan is a proposal: detectors miss what has no pattern, and only the owner knows what others know"},
	SafeHarbor: {
		"Safe Harbor also asks that you know of no way in which what remains, alone or with other information, identifies a person (45 CFR 164.514(b)(2)(ii))",
		"the 17 three-digit ZIP codes with 20,000 people or fewer are those of the census of 2000 in the guidance of HHS: compare them with the latest census",
		"a code by which rows of one person are joined may not be derived from information about the person (45 CFR 164.514(c)): keyed pseudonyms of names or numbers are",
	},
}

func (role Role) action(c *Column) Action {
	switch role {
	case Direct:
		// Who needs rows of one person joined needs the key of the record and nothing else.
		if c.Kind == None && (c.Subject == Record || c.Subject == Unknown) {
			return Pseudonymise
		}
		return Drop
	case Quasi:
		return Generalise
	case Text:
		return RedactText
	}
	return Keep
}

// safeHarbor goes through 45 CFR 164.514(b)(2)(i), (A) to (R).
func (c *Column) safeHarbor() Action {
	switch {
	case c.Role == Direct || c.Subject.role() == Direct: // (A), (D) to (R)
		return Drop
	case c.Kind == Coordinates || c.Subject == Position || c.Subject == Place: // (B): smaller than a state
		return Drop
	case c.Role == Text:
		return Drop // it may hold any of them
	case c.Subject == PostalCode: // (B)(1) and (2)
		return FirstThree
	case c.Kind == Date || c.Subject == Birth || c.Subject == Event: // (C)
		return YearOnly
	case c.Subject == Age: // (C)
		return AgesTo89
	}
	return Keep
}

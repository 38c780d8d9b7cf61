package operate

import (
	"fmt"
	"time"

	"cerebrum.dev/cerebrum/node/anonymize/detect"
	"cerebrum.dev/cerebrum/node/anonymize/quote"
)

// OldestAge is the age up to which a year of birth may be published (45 CFR
// 164.514(b)(2)(i)(C)).
const OldestAge = 89

// Steps makes steps of a plan. What is to be generalised has none: that is the business
// of a model of anonymity. Pseudonyms are bound to the dataset and their column; the key
// may be Key{} if the plan has none of them. Years of birth are published of those who are
// at most [OldestAge] now.
func Steps(p *detect.Plan, k Key, dataset string, now time.Time) ([]Step, error) {
	var steps []Step
	for _, s := range p.Steps {
		var op Operator
		var err error
		switch s.Action {
		case detect.Keep, detect.Generalise:
			continue
		case detect.Drop:
			op = Drop{}
		case detect.Pseudonymise:
			op, err = NewPseudonym(k, Place{Dataset: dataset, Column: s.Column})
		case detect.RedactText:
			op = Redact{}
		case detect.FirstThree:
			op = ZIP3{}
		case detect.YearOnly:
			op, err = NewYear(now.Year() - OldestAge)
		case detect.AgesTo89:
			op = AgesOf90()
		default:
			err = fmt.Errorf("there is no operator for %v", s.Action)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", quote.Name(s.Column), err)
		}
		steps = append(steps, Step{Column: s.Column, Operator: op})
	}
	return steps, nil
}

package validator

import (
	"strings"
	"sync"

	"cerebrum.dev/cerebrum/crypto/keystore"
)

// keptSealers is how many parsed sets of recipients are kept in one of two
// generations; one takes a few kilobytes, and its recipients, by which it is
// found, two kilobytes each.
const keptSealers = 512

// sealers keeps parsed recipients: to read one of 1,959 characters costs half as
// much as to seal to it. The zero value is ready.
type sealers struct {
	mu         sync.Mutex
	young, old map[string]*keystore.Sealer // by the recipients; owned by mu
}

// to is the sealer for recipients, as they stand now: who is removed is in another set.
func (s *sealers) to(recipients []string) (*keystore.Sealer, error) {
	key := strings.Join(recipients, " ") // none has a space in it
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.young[key]; ok {
		return have, nil
	}
	have, ok := s.old[key]
	if !ok {
		var err error
		if have, err = keystore.NewSealer(recipients...); err != nil {
			return nil, err
		}
	}
	if s.young == nil || len(s.young) >= keptSealers {
		s.old, s.young = s.young, make(map[string]*keystore.Sealer)
	}
	s.young[key] = have
	return have, nil
}

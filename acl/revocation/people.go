package revocation

import (
	"cerebrum.dev/cerebrum/acl/identity"
	"cerebrum.dev/cerebrum/crypto/statement"
)

// Records is [Set.IdentityRecords], under the name by which verifiers of chains
// ask for what the logs know of an identity beyond the document that was shown.
func (s *Set) Records(id statement.ID) []*identity.Record { return s.IdentityRecords(id) }

package witness

import (
	"errors"
	"fmt"

	"cerebrum.dev/cerebrum/acl/audit"
	"cerebrum.dev/cerebrum/acl/trust"
	"cerebrum.dev/cerebrum/crypto/statement"
	"filippo.io/torchwood"
)

// ErrNetwork reports committee records that do not lead from the network that an
// auditor trusts.
var ErrNetwork = errors.New("the committee records are not of this network")

// PolicyOf makes the [audit.Check] of an auditor who trusts the id of a network: a
// quorum under a committee record that counts must have cosigned, see [Policy]. The
// records are those that the auditor has, a network file's say, the first one of the
// network among them or in the bundle; those in the bundle may continue them and
// never take their place. A bundle may keep silent about a recovery that took the
// word from stolen keys, so an auditor's own records should be recent. Where the
// log's peer is a validator, its record must name the log's key.
func PolicyOf(network statement.ID, records ...[]byte) func(bundled [][]byte, b *audit.Binding) (torchwood.Policy, error) {
	return func(bundled [][]byte, b *audit.Binding) (torchwood.Policy, error) {
		chain, err := chainOf(network, records, bundled)
		if err != nil {
			return nil, err
		}
		var count []*trust.Committee
		for r, ok := chain.Current(), true; ok; r, ok = r.Before() {
			if _, err := chain.ByID(r.ID()); err != nil {
				break // it and those before it do not count any more
			}
			if i, sits := r.ByPeer(b.Peer); sits && r.Validators[i].Log != b.Log {
				return nil, fmt.Errorf("%w: version %d names another key for the log of this validator", audit.ErrBinding, r.Version)
			}
			count = append(count, r)
		}
		return Policy(b, count...)
	}
}

// chainOf is the chain of a network that begins among the records.
func chainOf(network statement.ID, own, bundled [][]byte) (*trust.Chain, error) {
	all := append(append([][]byte(nil), own...), bundled...)
	for _, raw := range all {
		s, err := statement.Parse(raw)
		if err != nil || s.ID() != network {
			continue
		}
		genesis, err := trust.Genesis(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNetwork, err)
		}
		chain := trust.Fixed(genesis)
		for _, part := range [][][]byte{own, bundled} { // in this order: the first record of a position stays
			if _, err := chain.Add(part...); err != nil && !errors.Is(err, trust.ErrFork) {
				return nil, fmt.Errorf("%w: %w", ErrNetwork, err)
			}
		}
		return chain, nil
	}
	return nil, fmt.Errorf("%w: its first record is missing", ErrNetwork)
}

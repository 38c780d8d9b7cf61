package cli

import "cerebrum.dev/cerebrum/acl/policy"

// builtinPolicy is the bundle that new networks start with.
func builtinPolicy() *policy.Bundle { return policy.Builtin() }

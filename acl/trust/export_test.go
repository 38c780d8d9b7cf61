package trust

import "crypto/sha256"

const MaxProven = maxProven

func Proven(c *Chain) int                   { return len(c.proven.sums) }
func Prove(c *Chain, sum [sha256.Size]byte) { c.proven.add(sum) }

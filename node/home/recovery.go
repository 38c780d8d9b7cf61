package home

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"unicode"

	"cerebrum.dev/cerebrum/crypto/statement"
	"cerebrum.dev/cerebrum/node/fault"
)

// A recovery secret is what people write down: a prefix, then in base32 the seed
// of an Ed25519 key and a checksum, which tells a slip of the pen from the secret
// of something else.
const (
	recoveryPrefix = "CEREBRUM-RECOVERY-1-"
	recoverySum    = 4
)

var recoveryCode = base32.StdEncoding.WithPadding(base32.NoPadding)

func recoveryCheck(seed []byte) []byte {
	sum := sha256.Sum256(append([]byte("cerebrum.dev/recovery secret/"), seed...))
	return sum[:recoverySum]
}

func recoveryText(key statement.PrivateKey) string {
	seed := key.Seed()
	return recoveryPrefix + recoveryCode.EncodeToString(append(seed[:len(seed):len(seed)], recoveryCheck(seed)...))
}

// NewRecovery makes a recovery secret and the key that an identity commits to.
func NewRecovery() (text string, key statement.PublicKey) {
	k := statement.GenerateKey()
	return recoveryText(k), k.Public()
}

// ParseRecovery reads a recovery secret as people type it: in either case, with
// spaces and line breaks anywhere. No error holds a part of it.
func ParseRecovery(text string) (statement.PrivateKey, error) {
	const hint = "copy it whole, as `cerebrum init` has shown it"
	bad := func(what string) (statement.PrivateKey, error) {
		return statement.PrivateKey{}, fault.New(fault.Usage, hint, "the recovery secret %s", what)
	}
	if len(text) > 1<<10 {
		return bad("is too long")
	}
	line := strings.ToUpper(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text))
	code, ok := strings.CutPrefix(line, recoveryPrefix)
	if !ok {
		return bad("begins with " + recoveryPrefix)
	}
	raw, err := recoveryCode.DecodeString(code)
	if err != nil {
		return bad("is damaged: after its prefix it has the letters A to Z and the digits 2 to 7 only")
	}
	const seedSize = 32
	if len(raw) != seedSize+recoverySum || recoveryCode.EncodeToString(raw) != code {
		return bad("is damaged: a part of it is missing, or there is something more")
	}
	seed := raw[:seedSize]
	if string(recoveryCheck(seed)) != string(raw[seedSize:]) {
		return bad("is damaged: a character is wrong")
	}
	return statement.KeyFromSeed(seed)
}

// Package committee splits an object's secret among n validators so that any t
// of them can give it back, t-1 of them learn nothing at all, and whoever lies
// is named.
//
// # Vocabulary
//
// The [Secret] is a random, non-zero scalar of ristretto255 (RFC 9496). To deal
// it is to choose two random polynomials of degree t-1, one whose value at 0 is
// the secret and one for blinding. The [Share] of the validator with the
// 0-based index i in the committee record is the pair of their values at
// x = i+1. The [Commitments] are t points
//
//	C[j] = value[j]*G + blinding[j]*H
//
// that the owner publishes in the signed dealing; every validator checks its
// share against them:
//
//	Value*G + Blinding*H = C[0] + x*C[1] + x^2*C[2] + ...
//
// This is Pedersen's scheme (Non-Interactive and Information-Theoretic Secure
// Verifiable Secret Sharing, CRYPTO '91). The commitments hide the secret
// perfectly, hence also from whoever computes discrete logarithms one day, which
// Feldman's commitments value[j]*G do not. They bind today: to pass a false
// share one must know the logarithm of H, and H is hashed to the group.
//
// Everywhere in this package t is the number of shares that are NEEDED, as in
// "3 of 4". (In circl's secretsharing it is the number that may be corrupted,
// one less.) An index comes from the committee record, never from the wire.
//
// # Sharing again
//
// When the committee changes, an object's secret is shared once more without
// being put together anywhere. An epoch is one sharing of a secret, held by the
// validators of one committee record; all of its shares lie on one pair of
// polynomials f (value) and h (blinding), and shares of two epochs never mix. The
// dealers are validators of the old record, the receivers those of the new one,
// of whom t' are needed. A dealer set Q names exactly t dealers; every receiver
// must use the same.
//
// The dealer at x = i makes its share the value at 0 of a fresh pair of
// polynomials of degree t'-1 ([SubDeal]): f_i with f_i(0) = f(i), and h_i. The
// receiver at x = j gets the sub-share (f_i(j), h_i(j)), and commitments to
// the coefficients but the first; the first is what the old commitments hold for
// x = i. So there is nothing that a dealer could prove or forge: a sub-share that
// fits is one of its true share ([CheckSub], [CheckBatch]):
//
//	scale * (f_i(j)*G + h_i(j)*H) = D_i[0] + j*D_i[1] + j^2*D_i[2] + ...
//	D_i[0] = C[0] + i*C[1] + i^2*C[2] + ...     from the old epoch, never sent
//
// With w_i, the Lagrange weights of Q at 0, the receiver's new share is the sum of
// w_i * (f_i(j), h_i(j)), on polynomials whose values at 0 are still f(0) and h(0)
// ([Combiner]). The new commitments are the sum of w_i * D_i. The weights are
// fractions of small integers, so both sides are multiplied by their common
// denominator d, which goes into the scale ([Scaled]) instead of into every point:
//
//	scale' = d * scale,   C'[0] = d*C[0],   C'[m] = sum of (d*w_i) * D_i[m]
//
// Redistribution by sub-shares is Desmedt and Jajodia's (Redistributing Secret
// Shares to New Access Structures and Its Applications, 1997). That shares of
// different epochs are of no use together is the idea of proactive sharing:
// Herzberg, Jarecki, Krawczyk and Yung, CRYPTO '95. The batch check is the
// small exponents test of Bellare, Garay and Rabin, EUROCRYPT '98.
//
// # What dealers can do, and colluders
//
// One honest dealer in Q makes the new polynomials fresh: whoever holds fewer than
// t old shares and fewer than t' new ones learns nothing, even with the transcript
// of the rotation. This counts everything that was seen before the old shares (and
// the seeds of [SubDeal]) were destroyed.
//
// A rushing dealer, who deals after it has seen what the others sent, can
// withhold or deal wrongly. A receiver that gets a wrong sub-share notices and
// names it, and another Q does without it. It can also choose its points so that the new commitments look as it
// likes; they still hide perfectly, and it learns nothing of the coefficients of an
// honest dealer, hence of the new shares. It cannot change the secret, nor give
// two receivers shares of two polynomials, because both check against the same
// points. (That both saw the same points is for the caller to see to: dealers sign them.)
//
// New commitments may add up to the identity, which commitments never hold.
// Honest dealers bring that about with probability 2^-252. With an honest dealer
// in Q nobody else can either, as long as t' honest receivers are served: their
// sub-shares would open the sum, and so give the logarithm of H. A rushing
// dealer can show it to at most t'-2 honest receivers, by dealing wrongly to the
// rest, who name it. All t of Q together can do it, but they have the secret.
// So the rule is the one for every commitment: it is refused ([Combiner.Combine]),
// the receiver keeps no share and blames nobody for it, and another Q is tried;
// the refusal costs nothing that the dealers could not have had by dealing nothing.
//
// t colluding members of one epoch have the secret, for ever: no rotation takes
// back what they hold or held, whether they kept old shares, were broken into
// together, or are the dealers. Only a new file key, and so a new ciphertext, helps.
//
// # Sealing
//
// A file key of 16 bytes is sealed with ChaCha20-Poly1305 (RFC 8439) under a key
// that is derived from the secret and bound to the key id and the network:
//
//	KEK    = HKDF-SHA256(secret, salt = key id, info = "cerebrum.dev/committee/kek/v1" || network id)
//	sealed = ChaCha20-Poly1305(KEK, nonce = 0, file key, additional data = key id || network id)
//
// # Wire format
//
// A scalar is 32 bytes, little endian, below the order of the group. A point is
// its 32-byte encoding of RFC 9496, section 4.3. Every other encoding is
// refused, and so are the identity as a commitment and 0 as a scale.
//
// # Example
//
//	secret, shares, commitments, err := committee.Deal(4, 3)
//	sealed, err := committee.SealKey(secret, keyID, network, fileKey)
//	...
//	err = committee.Check(2, shares[2], commitments)   // the third validator, at deposit
//	...
//	liars, err := committee.Open(commitments, 3, answers, func(s committee.Secret) (err error) {
//		fileKey, err = committee.OpenKey(s, keyID, network, sealed)
//		return err
//	})
//
// A rotation, at one receiver (0-based index 2 in the new record), from the
// dealers 0, 1 and 3 of the old one:
//
//	old, err := committee.Unscaled(commitments).Parse(3)
//	good, wrong := committee.CheckBatch(0, 2, 3, []committee.Item{{Old: old, Sub: sub}, ...})   // all that dealer 0 sent
//	...
//	combiner, err := committee.NewCombiner([]int{0, 1, 3}, 3)
//	share, next, err := combiner.Combine([]committee.Checked{good[0], ...})   // one of each dealer
//
// # Limits
//
// Operations on secrets and shares do not branch on them or index memory by
// them; what circl and its go-ristretto promise is relied on. Go gives no way to
// wipe memory for certain, so none is pretended. A t-subset of one dealing can
// always read: nothing in this package can take a share back.
package committee

// Package keystore keeps the secrets of one home: the long-lived keys in one
// protected file, short secrets in boxes sealed to people, and secrets that must
// one day be destroyed in an erasable store.
//
// # Keys at rest
//
// A home has one key file, mode 0600 in a folder of mode 0700:
//
//	keys.age    an age file (C2SP age v1) with one scrypt stanza, N = 2^14 to 2^20
//	keys.plain  CBOR [note, contents, SHA-256(contents)], by explicit choice
//
// What it holds is [Contents], in the canonical CBOR of package statement. The
// file is replaced as a whole: temporary file, flush, rename, flush of the
// folder. Before anybody is asked for a passphrase, [Open] refuses loose modes,
// two key files side by side, and a work factor that is a bomb or a weakening.
//
//	err := keystore.Create(dir, keystore.NewContents(), keystore.Protection{Passphrase: p})
//	...
//	s, err := keystore.Open(dir, prompt)
//	c := s.Contents()                       // a copy
//	c.Identities = append(c.Identities, id)
//	err = s.Save(c)                         // durable on nil
//
// The passphrase and the keys stay in memory while the store is open. The
// runtime copies memory as it likes, so wiping them is best effort only.
//
// # Boxes
//
// A box is a binary age file for hybrid recipients (age1pq1..., ML-KEM-768 with
// X25519) and for nobody else, so that what is recorded today stays closed to a
// quantum computer. [Sealer] and [Opener] parse their keys once. Boxes come from
// other nodes, so header, recipients and size are bounded before any work.
//
// # The erasable store
//
// Deleting a record from a database deletes nothing for a while. So a secret is
// encrypted under a random key of its own, the caller keeps the ciphertext
// ([Sealed]) wherever it likes, and the key lives in a slot of a small file that
// is overwritten in place ([Erasable.Erase]). The layout is in slots.go. The
// keys in the slots are wrapped under the home's master key, so that a stolen
// slot file opens nothing.
//
//	sealed, err := e.SealMany([]keystore.Item{{AAD: keyID, Secret: share}})
//	share, err := e.Open(sealed[0], keyID)
//	err = e.Erase(sealed[0])                // durable on nil
//	_, err = e.Open(sealed[0], keyID)       // ErrErased, for ever
//
// A slot is used again, but under a new random tag that its ciphertext carries
// too, so that an old [Sealed] cannot reach a new secret.
//
// What it cannot do: file systems that never overwrite (btrfs, ZFS, APFS),
// snapshots, and the spare blocks of flash may keep the old slot. There the
// wrapping remains: whoever recovers the medium needs the master key as well.
//
// # When a disk fails
//
// After an error while writing, both stores refuse to write ([ErrFailed]) until
// they are opened again: a failed flush is not repeatable, because the system
// may have dropped the pages that it could not write.
package keystore

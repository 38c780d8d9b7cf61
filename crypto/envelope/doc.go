// Package envelope turns plaintext into an object and back: an age file cut
// into content-addressed blocks, and the owner's signed manifest over it.
//
// # Vocabulary
//
// An object is a payload, a header and a manifest. The file key is the 16-byte
// secret of one object; it is random, never derived from the plaintext, so that
// equal files do not confirm one another. The payload is the ciphertext. The
// header carries the file key, sealed. The file is header and payload in that
// order: a valid age v1 file (C2SP age specification). The manifest names all
// three; its CID is the address of the object.
//
// # Blocks
//
//	manifest  dag-cbor, the signed envelope of package statement
//	file      dag-pb, UnixFS file with two links: header, payload
//	header    raw leaf, at most 64 KiB: the age header
//	payload   dag-pb, balanced UnixFS file of width 1024 over raw leaves:
//	          a leaf of 16 bytes (age's payload nonce), then leaves of
//	          15 age chunks (15 x 65,552 bytes); the last may be shorter
//
// All CIDs are version 1 with a SHA-256 multihash of 32 bytes. The payload is the
// DAG that boxo's balanced layout builds over the same leaves, byte for byte, so
// that any IPFS node can read it: "ipfs cat FILE | age -d". Header and payload
// are apart, so a header can be replaced without touching the payload.
//
// # Header
//
// The replicated header holds one stanza without arguments:
//
//	age-encryption.org/v1
//	-> cerebrum.dev/committee
//	base64( key id (32) || network id (32) || sealed file key )
//	--- base64( HMAC-SHA256(HKDF-SHA256(file key, "header"), all of the above and "---") )
//
// It names no validator and no reader. ChaCha20-Poly1305 does not commit to its
// key, the HMAC does: it is checked at every open ([CheckHeader]). It is keyed by
// the file key, so every reader could forge a header and a payload; who wrote an
// object follows from the manifest's signature and the CIDs alone.
//
// # Manifest
//
// [Manifest] is encoded as a CBOR array in the order of its fields and signed by
// one device of its owner. CIDs in it are byte strings, not links. Key, lineage
// and scope travel as nonces; [KeyID], [LineageID] and [ScopeID] bind them to
// network and owner, so that nobody can claim the id of somebody else. What only
// readers may see (name, type, time) is in Sealed, see [SealDetails].
//
// # Writing
//
//	payload, key, err := envelope.Encrypt(ctx, src, sink)
//	header, err := envelope.CommitteeHeader(key, envelope.CommitteeStanza{...})
//	leaf, root, err := envelope.FileRoot(header, payload)
//	block, err := envelope.SignManifest(envelope.Manifest{...}, deviceKey)
//
// # Reading
//
//	u, err := envelope.ParseManifest(address, data)   // nothing verified yet
//	m, err := u.Verify(deviceKeysOf(u.Claims().Owner))
//	r, size, err := envelope.DecryptAt(header, key, payload, int64(m.Size))
package envelope

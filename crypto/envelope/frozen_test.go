package envelope

import (
	"encoding/base64"
	"testing"
)

// What an earlier version wrote, and a later one must write or read the same.

const frozenHeader = `age-encryption.org/v1
-> cerebrum.dev/committee
k5+NX3j06JwIenJ/uKq2h8XOrYQhK/z7h1thOjXTwiLhSo06QJ4mN9cUQz9bdkVP
djm8OcgYIYSGeEiBPw8dyQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
ICEiIyQlJicoKSorLC0uLw
--- 9Ogrb/mmcDLgJVtKmEBrQzlTEGGDH54JBbh3X09VYD4
`

// Header leaf and file root of that header and a payload of 3 GiB.
const frozenRoots = "bafkreigjtzklogyvjewnrcwkqmbzcs5ln2y4vn3pli72h2tp3thxcjvovq " +
	"bafybeibuo2sleilyrebeodfnw5hwnw62maolous4x3sdrewdfd2xfeb3eq"

// Address, statement id, key id, lineage id and first scope id of testManifest.
const frozenManifest = `bafyreifylyfehrkq7sion2lepyol7sk7fbqypee6xfzmkzrlif4gmh4jja
21020705dbb803216464752203e722b842e1113a33c6adb0d84c69d407843868
939f8d5f78f4e89c087a727fb8aab687c5cead84212bfcfb875b613a35d3c222
e7a8cf7386c81f96c54134ee9dcdff12dbdae9368d2f88f395a0f6178e698908
25cfd9235de8d18898f0ac81905c14f72a222c28d280c515adb1209c14125171
`

// frozenDetails are details sealed under testKey for the key id of testManifest.
func frozenDetails(t *testing.T) []byte {
	b, err := base64.StdEncoding.DecodeString("" +
		"a4V9Z89nX0AH5jLAlwCV2deQd1Nm1g54Uaaa7vGxrUn+9sZW5DbE26/NgQrROwxQK5Jr1FhkOaYU5QKJwtSLtGbu" +
		"4TEkogn2a5n6ukrmthizU9c8yWtVHWw7O9wT3rsM0APMnPLa6k5/Atk7vTl51r2k6zfYWiCuuuTN9Q5ibPJaJ4F+" +
		"w6ciODygDriHQaJbSzQOkdvk/9VRER0rHq03d1HwY8DfyniTfi3Oi38QspjRa0XhJarvpTye9P55HiEPgJRi+EJt" +
		"l60idhAfnq+D/Jq+YJ0WFXgqANa+AFuqrmsjeO//HkM/NUEofo80bokwBLFMsbSXvKoFzTbRO4xGFQ==")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

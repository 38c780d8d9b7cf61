package detect

import (
	"iter"
	"math/bits"
)

// Kind is a kind of identifier that a detector validates.
type Kind uint8

// The kinds, and what a cell has to fulfil.
const (
	None          Kind = iota
	Email              // RFC 5321 mailbox with a dot-atom and a domain of two labels or more
	URL                // a scheme and "://", or "www.", and a host
	IP                 // IPv4 in four decimal parts, IPv6 of RFC 4291
	MAC                // IEEE 802 address of 48 bits, separated
	Phone              // E.164 with a country code, or a national form
	IBAN               // ISO 13616: length of the country, ISO 7064 MOD 97-10
	Card               // ISO/IEC 7812: range of an issuer, its lengths, Luhn
	VIN                // 49 CFR 565: 17 characters and the check digit
	Date               // a day from 1900 on, up to a century from now
	Coordinates        // a latitude and a longitude with three decimals or more
	SSN                // United States: rules of the Social Security Administration
	NINO               // United Kingdom: prefixes and suffix of HMRC's manual NIM39110
	NHS                // United Kingdom: NHS number, modulus 11
	SteuerID           // Germany: ISO 7064 MOD 11,10 and the rule on repeated digits
	NIR                // France: sex, month, department, and the key of 97
	DNI                // Spain: DNI and NIE, the letter of 23
	CodiceFiscale      // Italy: DM 23.12.1976, day and month, check character
	BSN                // Netherlands: the 11-test
	PESEL              // Poland: date and check digit
	Personnummer       // Sweden: date (of co-ordination numbers too) and Luhn
	CPF                // Brazil: two check digits of modulus 11
	Aadhaar            // India: Verhoeff, no leading 0 or 1
	kinds
)

// facts of a kind.
type facts struct {
	name string
	// chance is about how likely a text of the form is valid that is something else:
	// what digits a checksum leaves to chance, and how many other things have the form.
	chance float64
}

var about = [kinds]facts{
	None: {"none", 1}, Email: {"e-mail", 1e-4}, URL: {"URL", 1e-4}, IP: {"IP address", 0.02}, MAC: {"MAC address", 1e-4},
	Phone: {"phone", 0.02}, IBAN: {"IBAN", 0.01}, Card: {"payment card", 0.1}, VIN: {"VIN", 0.1}, Date: {"date", 0.02},
	Coordinates: {"coordinates", 0.02}, SSN: {"US SSN", 0.05}, NINO: {"UK NINO", 0.05}, NHS: {"UK NHS number", 0.1},
	SteuerID: {"German Steuer-ID", 0.05}, NIR: {"French NIR", 0.01}, DNI: {"Spanish DNI or NIE", 0.05},
	CodiceFiscale: {"Italian codice fiscale", 1e-3}, BSN: {"Dutch BSN", 0.1}, PESEL: {"Polish PESEL", 0.02},
	Personnummer: {"Swedish personnummer", 0.02}, CPF: {"Brazilian CPF", 0.02}, Aadhaar: {"Indian Aadhaar", 0.1},
}

func (k Kind) String() string {
	if k < kinds {
		return about[k].name
	}
	return "unknown"
}

// MarshalText gives the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// National says whether the kind is a number by which a state knows a person.
func (k Kind) National() bool { return k >= SSN && k < kinds }

// Direct says whether the kind identifies a person, a device or an account by itself.
func (k Kind) Direct() bool { return k != None && k != Date && k != Coordinates && k < kinds }

// Set is a set of kinds.
type Set uint32

func of(k Kind) Set { return 1 << k }

// Has says whether a kind is in the set.
func (s Set) Has(k Kind) bool { return s&of(k) != 0 }

// Kinds are the members, in their order.
func (s Set) Kinds() iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(Kind(bits.TrailingZeros32(uint32(s)))) {
				return
			}
		}
	}
}

package detect

import (
	"slices"
	"strings"
	"unicode"
)

// Role is what a column tells others about a person.
type Role int

const (
	// Plain is a column about which nothing was found.
	Plain Role = iota
	// Direct identifies a person by itself: names, numbers, addresses.
	Direct
	// Quasi is what others may know of a person, and tells people apart together with
	// other such columns.
	Quasi
	// Sensitive is what others are not to learn of a person.
	Sensitive
	// Text is free text, which may say anything.
	Text
)

var roles = [...]string{"plain", "direct identifier", "quasi-identifier", "sensitive", "free text"}

func (r Role) String() string {
	if int(r) < len(roles) {
		return roles[r]
	}
	return "unknown"
}

// MarshalText gives the name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Subject is what a column is about, by its name.
type Subject int

// The subjects. Those that are categories of 45 CFR 164.514(b)(2)(i) are marked with its letter.
const (
	Unknown     Subject = iota
	PersonName          // A
	Address             // B, below the level of a postal code
	PostalCode          // B
	Place               // B: cities and counties; states and countries are spared by the rule
	Region              // a state, a country, a nationality
	Birth               // C
	Event               // C: other dates
	Age                 // C, above 89
	Telephone           // D and E
	EMail               // F
	StateID             // G: numbers by which a state knows a person
	Record              // H to K, R: medical record, health plan, account, licence, any other number
	Vehicle             // L
	Device              // M
	Web                 // N
	Internet            // O
	Biometric           // P and Q
	Position            // coordinates
	Demographic         // sex, origin, family, education, work
	Private             // health, money, belief
	Remarks             // free text
)

// subjects has what columns are called in English, German, French, Spanish, Italian,
// Portuguese, Dutch, Polish and Swedish, as words without accents. Names of several words
// are found where they are joined: "date of birth" has dateofbirth.
var subjects = map[Subject]string{
	PersonName: "name names surname lastname firstname fullname forename givenname maidenname middlename familyname username login alias nickname vorname nachname " +
		"familienname geburtsname nom prenom nomfamille nombre nombres apellido apellidos cognome nome naam achternaam voornaam imie nazwisko fornamn efternamn namn sobrenome apelido",
	Address: "address addresses street streetaddress addr strasse str hausnummer anschrift adresse rue direccion calle domicilio indirizzo straat huisnummer adres endereco rua " +
		"morada ulica gata adress gatuadress",
	PostalCode: "zip zipcode zip3 zip5 postcode postal postalcode plz postleitzahl codepostal cp codigopostal codicepostale cap postcode cep kodpocztowy postnummer postnr",
	Place: "placeofbirth city town county municipality district village locality birthplace neighborhood neighbourhood ort wohnort stadt gemeinde landkreis geburtsort ville commune " +
		"ciudad municipio localidad citta comune provincia stad gemeente woonplaats cidade miasto gmina kommun stad",
	Region: "state country region province nationality nation citizenship nativecountry native bundesland land staat staatsangehorigkeit nationalitat pays departement nationalite " +
		"pais nacionalidad paese nazionalita regione nationaliteit kraj wojewodztwo lan nationalitet nacionalidade",
	Birth: "dob birth birthdate birthday dateofbirth birthyear yearofbirth bday born geburtsdatum geburtstag geburtsjahr geboren naissance datenaissance nacimiento fechanacimiento " +
		"nascita datanascita geboortedatum geboortejaar urodzenia dataurodzenia fodelsedatum fodelsear nascimento datanascimento",
	Event: "date datetime timestamp admission admitted discharge discharged death died visit appointment datum aufnahme entlassung fecha alta ingreso dataora data dates",
	Age:   "age ages agegroup alter altersgruppe edad eta leeftijd wiek alder idade",
	Telephone: "phone phonenumber telephone tel mobile mobilephone cell cellphone fax faxnumber telefon telefonnummer handy handynummer mobil telefono movil celular cellulare " +
		"telefoon telefoonnummer telefone telemovel portable",
	EMail: "email emailaddress mail mailaddress epost courriel correo correoelectronico posta",
	StateID: "ssn socialsecurity socialsecuritynumber sin tin itin nino nationalinsurance nhs nhsnumber nationalid nationalidentifier taxid steuerid steuernummer idnr " +
		"sozialversicherungsnummer svnr nir insee dni nie nif cif codicefiscale bsn burgerservicenummer pesel personnummer cpf aadhaar aadhar passport passportnumber reisepass " +
		"passnummer personalausweis pasaporte passeport passaporto",
	Record: "id ids identifier uuid guid key mrn medicalrecord patientid patientnumber patient subject subjectid customerid customer client clientid member memberid memberno insured " +
		"insurance insurancenumber policynumber healthplan account accountnumber accountno iban card cardnumber creditcard pan licence license licencenumber licensenumber certificate " +
		"employeeid staffid studentid userid personid caseid kundennummer patientennummer versichertennummer kontonummer matrikelnummer numero numeroclient expediente",
	Vehicle:   "vin vehicle vehicleid plate licenseplate licenceplate numberplate registration kennzeichen matricula targa kenteken placa",
	Device:    "device deviceid serial serialnumber imei imsi udid mac macaddress advertisingid idfa seriennummer",
	Web:       "url urls website homepage web link webseite",
	Internet:  "ip ipaddress ipaddr ipv4 ipv6 remoteaddr clientip",
	Biometric: "fingerprint biometric biometrics iris retina voiceprint faceprint photo photograph picture portrait image foto bild fingerabdruck",
	Position:  "lat latitude lon lng long longitude geo gps coordinates coords breitengrad langengrad latitud longitud latitudine longitudine",
	Demographic: "sex gender geschlecht sexe genre sexo genero sesso genere geslacht plec kon race ethnicity ethnic ethnicgroup herkunft ethnie raza etnia marital maritalstatus " +
		"civilstatus familienstand etatcivil estadocivil statocivile children kinder education educationnum degree schooling bildung abschluss schulabschluss educacion istruzione opleiding " +
		"occupation job jobtitle profession beruf metier ocupacion profesion professione beroep zawod yrke employer workclass arbeitgeber industry language sprache langue idioma " +
		"height weight veteran household",
	Private: "diagnosis diagnoses disease illness icd icd9 icd10 condition medication drug treatment therapy procedure hiv result results symptom symptoms salary salaryclass income wage " +
		"pay religion religious belief political politics party union sexual orientation crime conviction offence offense genetic gene score grade debt loan credit balance bloodtype " +
		"blood disability pregnant pregnancy diagnose krankheit befund gehalt einkommen lohn schulden maladie diagnostic salaire revenu diagnostico enfermedad salario ingresos malattia " +
		"diagnosi reddito stipendio ziekte inkomen choroba dochod sjukdom inkomst lon doenca renda",
	Remarks: "note notes comment comments remark remarks freetext text description narrative message report anamnesis history bemerkung bemerkungen kommentar notiz freitext " +
		"beschreibung commentaire remarque observaciones observacion comentario nota notas osservazioni opmerking opmerkingen uwagi anteckning",
}

// words is subjects the other way round. A word of two subjects is of the first that
// [subjectOrder] has.
var words = func() map[string]Subject {
	t := map[string]Subject{}
	for i := len(subjectOrder) - 1; i >= 0; i-- {
		for w := range strings.FieldsSeq(subjects[subjectOrder[i]]) {
			t[w] = subjectOrder[i]
		}
	}
	return t
}()

// subjectOrder is which subject a name has of several: "date of birth" is about birth,
// "country name" about a country, "patient name" about a name.
var subjectOrder = []Subject{Birth, StateID, EMail, Telephone, Internet, Web, PostalCode, Position, Biometric, Device, Vehicle, Private, Age, Demographic, Region, Place,
	Address, PersonName, Event, Record, Remarks}

// notOfPeople are words that say that a name is one of something else.
var notOfPeople = map[string]bool{"product": true, "item": true, "file": true, "company": true, "hospital": true, "drug": true, "brand": true, "model": true, "table": true, "column": true, "category": true, "event": true, "department": true}

// SubjectOf reads the name of a column. A match of more words counts more: "place of
// birth" is a place.
func SubjectOf(column string) Subject {
	parts := split(column)
	other := slices.ContainsFunc(parts, func(p string) bool { return notOfPeople[p] })
	best, length := Unknown, 0
	for i := range parts {
		joined := ""
		for j := i; j < len(parts) && j < i+3; j++ {
			joined += parts[j]
			s, ok := words[joined]
			if !ok || s == PersonName && other {
				continue
			}
			if n := j - i + 1; n > length || n == length && earlier(s, best) {
				best, length = s, n
			}
		}
	}
	return best
}

// earlier says whether a comes before b in the order of subjects.
func earlier(a, b Subject) bool {
	return slices.Index(subjectOrder, a) < slices.Index(subjectOrder, b)
}

// maxNameLength bounds what is read of a column's name.
const maxNameLength = 256

// split makes lower-case words without accents of a name: "dateOfBirth",
// "date_of_birth" and "DATE OF BIRTH" have the same.
func split(name string) (parts []string) {
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			parts = append(parts, word.String())
			word.Reset()
		}
	}
	before := ' '
	for _, c := range name[:min(len(name), maxNameLength)] {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush()
		default:
			if unicode.IsUpper(c) && unicode.IsLower(before) {
				flush()
			}
			if plain, ok := accents[unicode.ToLower(c)]; ok {
				word.WriteString(plain)
			} else {
				word.WriteRune(unicode.ToLower(c))
			}
		}
		before = c
	}
	flush()
	return parts
}

var accents = func() map[rune]string {
	t := map[rune]string{'ß': "ss", 'æ': "ae", 'ø': "o", 'ł': "l"}
	for plain, group := range map[string]string{"a": "àáâãäåą", "c": "çćč", "e": "èéêëę", "i": "ìíîï", "n": "ñńň", "o": "òóôõö", "s": "śš", "u": "ùúûü", "y": "ýÿ", "z": "źżž"} {
		for _, c := range group {
			t[c] = plain
		}
	}
	return t
}()

// expected is the kinds that the values of a subject have.
var expected = map[Subject]Set{
	Birth: of(Date), Event: of(Date), Telephone: of(Phone), EMail: of(Email), Vehicle: of(VIN), Device: of(MAC), Web: of(URL), Internet: of(IP), Position: of(Coordinates),
	Record:  of(IBAN) | of(Card) | of(SSN) | of(NHS) | of(VIN),
	StateID: of(SSN) | of(NINO) | of(NHS) | of(SteuerID) | of(NIR) | of(DNI) | of(CodiceFiscale) | of(BSN) | of(PESEL) | of(Personnummer) | of(CPF) | of(Aadhaar),
}

// role of a column by its name alone.
func (s Subject) role() Role {
	switch s {
	case PersonName, Address, Telephone, EMail, StateID, Record, Vehicle, Device, Web, Internet, Biometric:
		return Direct
	case PostalCode, Place, Region, Birth, Event, Age, Position, Demographic:
		return Quasi
	case Private:
		return Sensitive
	case Remarks:
		return Text
	}
	return Plain
}

var subjectNames = map[Subject]string{PersonName: "a person's name", Address: "an address", PostalCode: "a postal code", Place: "a place", Region: "a state, country or nationality",
	Birth: "a birth", Event: "a date", Age: "an age", Telephone: "a phone", EMail: "an e-mail address", StateID: "a number of a state", Record: "a number or key of a record", Vehicle: "a vehicle",
	Device: "a device", Web: "a web address", Internet: "an internet address", Biometric: "a biometric feature or picture", Position: "a position", Demographic: "a person's circumstances",
	Private: "health, money or belief", Remarks: "free text"}

func (s Subject) String() string {
	if name, ok := subjectNames[s]; ok {
		return name
	}
	return "unknown"
}

// MarshalText gives the name.
func (s Subject) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

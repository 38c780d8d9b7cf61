package detect

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// valid are published examples: of registries and authorities where they publish some,
// of the encyclopaedia otherwise.
var valid = map[Kind][]string{
	// RFC 5322, appendix A.1, RFC 6531 and RFC 1034 in spirit.
	Email: {"jdoe@machine.example", "john.q.public@example.com", "user+tag@sub.example.co.uk", "o'brien@example.org", "a@b.cd", "用户@例子.广告", "x@xn--bcher-kva.example"},
	// RFC 3986, section 1.1.2.
	URL: {"http://www.ietf.org/rfc/rfc2396.txt", "ftp://ftp.is.co.za/rfc/rfc1808.txt", "https://user@example.org:8042/over?name=ferret#nose", "www.example.com", "http://192.0.2.1/x", "HTTPS://EXAMPLE.COM"},
	// RFC 5737, RFC 4291 section 2.2, RFC 5952.
	IP: {"192.0.2.1", "255.255.255.255", "0.0.0.0", "2001:db8::8:800:200c:417a", "ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "::ffff:129.144.52.38", "fe80::1"},
	// IEEE 802, RFC 7042 section 2.1.2, and the form of Cisco.
	MAC: {"00-00-5E-00-53-01", "00:00:5e:00:53:ff", "0000.5e00.53af", "de:ad:be:ef:ca:fe"},
	// Numbers for drama of Ofcom and the FCC (555-0100), ITU-T E.123 section 2.
	Phone: {"+22 607 123 4567", "+44 20 7946 0958", "+1 202-555-0143", "+12025550143", "(202) 555-0143", "020 7946 0958", "0171 1234567", "06 12 34 56 78", "+49 (0)30 901820", "030/901820-12"},
	// SWIFT, IBAN Registry, examples of the countries.
	IBAN: {"GB29NWBK60161331926819", "DE89 3704 0044 0532 0130 00", "FR1420041010050500013M02606", "NO9386011117947", "MT84MALT011000012345MTLCAST001S", "BR1800360305000010009795493C1",
		"AD1200012030200359100100", "nl91abna0417164300", "BE68 5390 0754 7034", "SA0380000000608010167519", "LC55HEMM000100010012001200023015", "CH9300762011623852957"},
	// Test numbers that the schemes and their processors publish.
	Card: {"4111111111111111", "4111 1111 1111 1111", "5555-5555-5555-4444", "2223003122003222", "378282246310005", "3782 822463 10005", "6011111111111117", "30569309025904", "3530111333300000", "6200000000000005", "4222222222222"},
	// 49 CFR 565 by way of the encyclopaedia; all ones are valid.
	VIN: {"1M8GDM9AXKP042788", "1HGBH41JXMN109186", "5GZCZ43D13S812715"},
	// ISO 8601 and others.
	Date: {"1985-04-12", "19850412", "12.4.1985", "04/12/1985", "12/04/1985", "1985/04/12", "1985-04-12T23:20:50.52Z", "1985-04-12 23:20", "29.02.2000", "12 Apr 1985", "12-APR-1985", "1985-Apr-12", "4/12/1985 11:05:00 PM"},
	// ISO 6709 has other forms; this one is what maps give.
	Coordinates: {"48.8577, 2.295", "-33.8568,151.2153"},
	// Numbers that were misused and are void by now, SSA history; form and rules of RM 10201.035.
	SSN: {"457-55-5462", "123 45 6789", "001-01-0001"},
	// HMRC NIM39110 in form.
	NINO: {"AB123456C", "AB 12 34 56 C", "ww123456d"},
	// NHS Data Dictionary and NHS Digital's synthetic range 999.
	NHS: {"943 476 5919", "9434765919", "401 023 2137"},
	// BZSt, Steuer-IdNr format document; ELSTER test numbers.
	SteuerID: {"86095742719", "86 095 742 719", "47036892816", "65929970489", "57549285017", "25768131411"},
	// INSEE by way of the encyclopaedia, and one of Corsica.
	NIR: {"255081416802538", "2 55 08 14 168 025 38"},
	// Ministerio del Interior.
	DNI: {"12345678Z", "X1234567L", "Z1234567R", "Y1234567X", "00000000-T"},
	// Agenzia delle Entrate by way of the encyclopaedia.
	CodiceFiscale: {"RSSMRA85T10A562S", "MRTMTT25D09F205Z", "mrtmtt91d08f205j"},
	// RvIG, test numbers.
	BSN: {"111222333", "123456782", "1112.22.333"},
	// gov.pl and the encyclopaedia.
	PESEL: {"44051401359", "02070803628"},
	// Skatteverket, SKV 704 and test numbers.
	Personnummer: {"640823-3234", "811228-9874", "19811228-9874", "6408233234"},
	// Receita Federal by way of validators.
	CPF: {"529.982.247-25", "52998224725", "111.444.777-35"},
	// UIDAI's form with the check digit of Verhoeff.
	Aadhaar: {"2341 2341 2346", "234123412346"},
}

// A negative control for each kind: one digit or rule away from a valid one.
var invalid = map[Kind][]string{
	Email:         {"john..public@example.com", ".john@example.com", "john@", "@example.com", "john@example", "john@exa_mple.com", "john@-example.com", "john@example-.com", "a@b@c.de", "john@example.com.", "john doe@example.com", strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b", 64) + ".com", "john@10.0.0.1"},
	URL:           {"http://", "http:///x", "://example.com", "www.", "www.-", "wwwexample.com", "http//example.com", "note: http example", "http://exa mple.com"},
	IP:            {"256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1..2.3", "1:2:3", "2001:db8:::1", "12345::", "10:20:30", "gggg::1"},
	MAC:           {"00-00-5E-00-53", "00-00-5E-00-53-0G", "00-00:5E-00-53-01", "00005e.0053af", "00.00.5e.00.53.af"},
	Phone:         {"+0 123 456 789", "+1 123-555-0143", "+1 211-555-0143", "+999", "12345678", "+1234567890123456", "(202 555-0143", "00000000000", "1-2-3-4-5-6-7-8-9"},
	IBAN:          {"GB29NWBK60161331926818", "DE8937040044053201300", "ZZ89370400440532013000", "GB00NWBK60161331926819", "FR1420041010050500013M0260"},
	Card:          {"4111111111111112", "41111111111111", "9111111111111111", "0000000000000000", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "1234567890123456"},
	VIN:           {"1M8GDM9AXKP042789", "1M8GDM9AXKPO42788", "1M8GDM9AXKP04278"},
	Date:          {"1985-02-29", "1985-13-01", "31.04.1985", "1899-12-31", "2101-01-01", "1985-04/12", "85-04-12", "19851304", "1985-4", "1985-04-12T", "1985-04-12Txx", "00.00.2000", "29.02.1900", "12 Foo 1985"},
	Coordinates:   {"91.000, 2.000", "48.8, 2.2", "48.8577 2.295", "48.8577,", "1,234,567", "48.8577, 181.000"},
	SSN:           {"000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "078-05-1120", "219-09-9999", "12-345-6789"},
	NINO:          {"BG123456A", "QQ123456C", "AO123456A", "AB123456E", "AB12345C", "DA123456A"},
	NHS:           {"943 476 5918", "943-4765-919", "0000000000"},
	SteuerID:      {"86095742718", "06095742719", "12345678901", "11111111111"},
	NIR:           {"255081416802539", "355081416802538", "255131416802538"},
	DNI:           {"12345678A", "X1234567A", "123456789", "W1234567L"},
	CodiceFiscale: {"RSSMRA85T10A562T", "RSSMRA85F10A562S", "RSSMRA85T72A562S", "RSSMR185T10A562S"},
	BSN:           {"111222334", "000000000", "123-456-782"},
	PESEL:         {"44051401358", "44131401359", "44023101359"},
	Personnummer:  {"640823-3235", "641323-3234", "640832-3234", "18811228-9874"},
	CPF:           {"529.982.247-26", "111.111.111-11"},
	Aadhaar:       {"234123412347", "134123412346", "234 123 412 346"},
}

func TestPublishedExamplesValidate(t *testing.T) {
	for k := Email; k < kinds; k++ {
		if len(valid[k]) == 0 || len(invalid[k]) == 0 {
			t.Errorf("%v has no example", k)
		}
		for _, text := range valid[k] {
			if sure, _ := Recognise([]byte(text)); !sure.Has(k) {
				t.Errorf("%v: %q does not validate", k, text)
			}
			if sure, _ := Recognise([]byte("  " + text + " ")); !sure.Has(k) {
				t.Errorf("%v: %q does not validate between spaces", k, text)
			}
		}
		for _, text := range invalid[k] {
			if sure, _ := Recognise([]byte(text)); sure.Has(k) {
				t.Errorf("%v: %q validates", k, text)
			}
		}
	}
}

// Any change of one digit is noticed by checksums that promise it.
func TestChecksumsNoticeEveryWrongDigit(t *testing.T) {
	for _, k := range []Kind{IBAN, NHS, DNI, BSN, NIR, Aadhaar, Personnummer, Card} {
		for _, text := range valid[k] {
			for i := range text {
				if text[i] < '0' || text[i] > '9' {
					continue
				}
				for d := byte('0'); d <= '9'; d++ {
					wrong := []byte(text)
					wrong[i] = d
					if sure, _ := Recognise(wrong); d != text[i] && sure.Has(k) {
						t.Errorf("%v: %s validates like %s", k, wrong, text)
					}
				}
			}
		}
	}
}

// Verhoeff's code notices that neighbours change places, for which it is used.
func TestVerhoeffNoticesTranspositions(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		d := fmt.Appendf(nil, "%011d0", random.IntN(1e11))
		for !isVerhoeff(d) {
			d[11]++
		}
		for i := range 11 {
			if d[i] == d[i+1] {
				continue
			}
			d[i], d[i+1] = d[i+1], d[i]
			if isVerhoeff(d) {
				t.Errorf("a transposition at %d goes unnoticed", i)
			}
			d[i], d[i+1] = d[i+1], d[i]
		}
	}
	for _, text := range []string{"2363", "123451"} { // Verhoeff's example 236, and one of the literature
		if !isVerhoeff([]byte(text)) {
			t.Errorf("%s does not validate", text)
		}
	}
}

// Plain numbers are no identifiers: of random digits no more validate than a checksum
// lets through, and amounts, years, versions, times and codes do not at all.
func TestPlainNumbersAreNotIdentifiers(t *testing.T) {
	for _, text := range []string{"0", "42", "1234.56", "-17", "1e10", "2024", "99.9", "1,234", "12:30", "12:30:45", "3.14159", "100000", "1.2.3", "v1.2.3", "A1", "SW1A 1AA", "10115", "1234-5678",
		"$1,234.56", "50%", "2024-W05", "Q3 2024", "0x1F", "ISBN 978-3-16-148410-0", "Room 101", "#1234567", "12345/2024", "N/A", "---", "....", "::", "@", "+", "()", "1 000 000"} {
		if sure, _ := Recognise([]byte(text)); sure != 0 {
			for k := range sure.Kinds() {
				t.Errorf("%q is taken for %v", text, k)
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 22; n++ {
		var sure, all [kinds]uint32
		const rounds = 10_000
		for range rounds {
			d := make([]byte, n)
			for i := range d {
				d[i] = '0' + byte(random.IntN(10))
			}
			s, p := Recognise(d)
			count(&sure, s)
			count(&all, s|p)
		}
		for k := Email; k < kinds; k++ {
			// Six deviations above the chance that the kind states.
			limit := about[k].chance + 6*math.Sqrt(about[k].chance/rounds)
			if share := float64(sure[k]) / rounds; share > limit {
				t.Errorf("%.3f of random texts of %d digits are taken for %v", share, n, k)
			}
		}
		if n == 9 && all[SSN] < rounds/2 {
			t.Error("the control: nine digits are no possible SSN")
		}
	}
}

func TestPossibleForms(t *testing.T) {
	for text, k := range map[string]Kind{"457555462": SSN, "2025550143": Phone, "02079460958": Phone, "0049 30 901820": Phone, "48.8577": Coordinates, "555-0143": Phone} {
		if sure, possible := Recognise([]byte(text)); sure.Has(k) || !possible.Has(k) {
			t.Errorf("%s is %b and %b, want a possible %v", text, sure, possible, k)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, texts := range valid {
		for _, text := range texts {
			f.Add([]byte(text))
		}
	}
	for _, texts := range invalid {
		for _, text := range texts {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, cell []byte) {
		before := string(cell)
		sure, possible := Recognise(cell)
		if (sure | possible).Has(None) || sure|possible >= 1<<kinds {
			t.Fatal("there is no such kind")
		}
		end := 0
		for g := range Find(cell) {
			if g.Start < end || g.End <= g.Start || g.End > len(cell) || g.Kind == None || g.Kind >= kinds {
				t.Fatalf("%+v after %d of %d", g, end, len(cell))
			}
			end = g.End
		}
		if string(cell) != before {
			t.Fatal("the cell was changed")
		}
		dateOf(cell)
	})
}

// The validators of eleven digits are as their definitions, in which nothing is saved.
func TestElevenDigitsByDefinition(t *testing.T) {
	cpf := func(d []byte) bool {
		for n := 9; n <= 10; n++ {
			sum := 0
			for i := range n {
				sum += int(d[i]-'0') * (n + 1 - i)
			}
			if 10*sum%11%10 != int(d[n]-'0') {
				return false
			}
		}
		return bytes.Count(d, d[:1]) < 11
	}
	tax := func(d []byte) bool {
		product := 10
		for _, c := range d[:10] {
			sum := (int(c-'0') + product) % 10
			if sum == 0 {
				sum = 10
			}
			product = 2 * sum % 11
		}
		var often [11]int // how many digits occur so often among the first ten
		for c := '0'; c <= '9'; c++ {
			often[bytes.Count(d[:10], []byte(string(c)))]++
		}
		return d[0] != '0' && (11-product)%10 == int(d[10]-'0') && often[2]+often[3] == 1 && often[1]+2*often[2]+3*often[3] == 10
	}
	r := rand.New(rand.NewPCG(11, 11))
	found := map[Kind]int{}
	for range 1_000_000 {
		d := fmt.Appendf(nil, "%011d", r.Int64N(1e11))
		if r.IntN(2) == 0 { // few digits are repeated
			for i, n := range r.Perm(10) {
				d[i] = '0' + byte(n)
			}
			d[r.IntN(10)] = d[r.IntN(10)]
		}
		sure, _ := Recognise(d)
		for k, want := range map[Kind]bool{CPF: cpf(d), SteuerID: tax(d)} {
			if sure.Has(k) != want {
				t.Fatalf("%s is %v: %t", d, k, !want)
			}
			if want {
				found[k]++
			}
		}
	}
	for n := range 10 {
		if d := bytes.Repeat([]byte{'0' + byte(n)}, 11); isCPF(d) || isSteuerID(d) {
			t.Errorf("%s is taken", d)
		}
	}
	if found[CPF] < 1000 || found[SteuerID] < 1000 {
		t.Errorf("there were %v: that shows nothing", found)
	}
}

// Luhn's sum by its definition: every second digit from the right is doubled, and the
// digits of what that makes are added.
func TestLuhnByDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	valid := 0
	for range 200_000 {
		d := make([]byte, 1+r.IntN(20))
		sum := 0
		for i := range d {
			n := r.IntN(10)
			d[i] = '0' + byte(n)
			if (len(d)-i)%2 == 0 {
				n *= 2
			}
			sum += n/10 + n%10
		}
		if got := isLuhn(d); got != (sum%10 == 0) {
			t.Fatalf("%s is valid: %t", d, got)
		} else if got {
			valid++
		}
	}
	if valid < 10_000 {
		t.Errorf("only %d were valid", valid)
	}
}

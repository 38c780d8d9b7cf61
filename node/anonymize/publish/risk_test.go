package publish_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"cerebrum.dev/cerebrum/node/anonymize/publish"
	"cerebrum.dev/cerebrum/node/anonymize/tabular"
)

// Journalists and marketers look among the people of the population, as counting by hand
// does, and prosecutors among the rows.
func TestRiskAmongAPopulation(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 20 {
		folder := t.TempDir()
		everybody, rows := [][]string{{"job", "age", "sex"}}, [][]string{{"sex", "age"}}
		people, sample := map[string]int{}, map[string]int{}
		for range 20 + r.IntN(200) {
			sex, age := []string{"F", "M"}[r.IntN(2)], fmt.Sprint(20+r.IntN(30))
			everybody = append(everybody, []string{"any", age, sex})
			people[sex+age]++
			if r.IntN(3) == 0 || len(rows) == 1 {
				rows = append(rows, []string{sex, age})
				sample[sex+age]++
			}
		}
		in, all := filepath.Join(folder, "in.csv"), filepath.Join(folder, "all.csv")
		writeTable(t, in, ',', rows)
		writeTable(t, all, ';', everybody)
		got, err := publish.Risk(t.Context(), in, tabular.Options{}, []string{"sex", "age"}, all)
		if err != nil {
			t.Fatal(err)
		}
		n, highest, average, prosecutor := float64(len(rows)-1), 0.0, 0.0, 0.0
		for key, count := range sample {
			highest = max(highest, 1/float64(people[key]))
			average += float64(count) / n / float64(people[key])
			prosecutor = max(prosecutor, 1/float64(count))
		}
		for what, pair := range map[string][2]float64{"journalist's highest": {got.Risk.Journalist.Highest, highest}, "journalist's average": {got.Risk.Journalist.Average, average},
			"marketer": {got.Risk.Marketer, average}, "prosecutor": {got.Risk.Prosecutor.Highest, prosecutor}, "people": {float64(got.Population), float64(len(everybody) - 1)}, "classes": {float64(got.Classes), float64(len(sample))}} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 {
				t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
			}
		}
	}
}

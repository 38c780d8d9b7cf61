package anonymize_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"cerebrum.dev/cerebrum/node/anonymize"
	"cerebrum.dev/cerebrum/node/anonymize/guarantee"
	"cerebrum.dev/cerebrum/node/anonymize/hierarchy"
	"cerebrum.dev/cerebrum/node/anonymize/measure"
	"cerebrum.dev/cerebrum/node/anonymize/table"
)

// Six people become two classes of three, in each of which there are two diagnoses.
func Example() {
	rows := strings.Fields("31,8001,flu 34,8002,cold 38,8004,flu 52,8001,flu 57,3012,gout 55,3013,cold")
	b, err := table.NewBuilder([]string{"age", "zip"}, []string{"diagnosis"})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows {
		cells := cells(strings.Split(r, ","))
		if err := b.Add(cells[:2], cells[2:]); err != nil {
			log.Fatal(err)
		}
	}
	zip, err := hierarchy.Prefixes(b.Values("zip"))
	if err != nil {
		log.Fatal(err)
	}
	age, err := hierarchy.Intervals(b.Values("age"), 0, 5, 20)
	if err != nil {
		log.Fatal(err)
	}
	t, err := b.Build(map[string]*hierarchy.Hierarchy{"zip": zip, "age": age})
	if err != nil {
		log.Fatal(err)
	}
	plan := anonymize.Plan{Method: anonymize.Rows, Models: []guarantee.Model{guarantee.K(3), guarantee.Distinct{Column: "diagnosis", L: 2}}}
	release, err := plan.Run(context.Background(), t)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range rows {
		cells := cells(strings.Split(r, ","))
		i, ok := t.Find(cells[:2])
		if !ok {
			log.Fatal("a row that is not in the table")
		}
		text, _ := release.Partition.Text(nil, i)
		fmt.Printf("%s %s\n", strings.Join(text, " "), cells[2])
	}
	fmt.Println(release.Guarantee)
	fmt.Printf("GCP %.3f, highest risk %.2f\n", measure.UtilityOf(release.Partition).GCP, measure.After(release.Partition, 0.2).Prosecutor.Highest)
	// Output:
	// 20-39 800* flu
	// 20-39 800* cold
	// 20-39 800* flu
	// 40-59 * flu
	// 40-59 * gout
	// 40-59 * cold
	// 3-anonymity, distinct 2-diversity of diagnosis
	// GCP 0.575, highest risk 0.33
}

package project

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const merchants = "merchant,category,\"since day\",region\nm1,food,2020-01-01,1\nm2,fuel,2021-01-01,2\n,none,2021-01-01,3\n"

func TestColumnsAreLookedUpInReferenceTables(t *testing.T) {
	p, err := load(t, map[string]string{"reference/merchants.csv": merchants, "reference/prices.csv": "item,day,price\n7,2024-01-01,0.10\n7,2024-01-02,0.20\n",
		"streams/payments.sql": `-- lookup: Category = merchants.category by shop = merchant
-- lookup: region = Merchants.region by (shop = MERCHANT)
-- lookup: price = prices.price by (item, day)
-- lookup: since = merchants."since day" by shop = merchant
CREATE TABLE payments (shop VARCHAR, category VARCHAR, item SMALLINT NOT NULL, day DATE, price DECIMAL(12,2), region TINYINT, since TIMESTAMP);`})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Streams[0]
	got := fmt.Sprintf("%v", s.Schema.Lookups)
	m, r := p.References[0].Version, p.References[1].Version
	if want := "[{[1 5 6] [0] merchants " + m + " [category region since day] [merchant]} {[4] [2 3] prices " + r + " [price] [item day]}]"; got != want {
		t.Errorf("lookups %s, want %s", got, want)
	}
	for i, want := range []string{"[shop VARCHAR category VARCHAR region TINYINT since TIMESTAMP] 2", "[item SMALLINT day DATE price DECIMAL(12,2)] 2"} {
		rel := s.LookupRows[i]
		var columns []string
		for k, c := range rel.Columns {
			of := append(append([]int{}, s.Schema.Lookups[i].Keys...), s.Schema.Lookups[i].Columns...)[k]
			columns = append(columns, s.Schema.Columns[of].Name, c.Type.String())
		}
		if got := fmt.Sprint(columns, rel.Len()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestALookupThatCannotWorkIsAProblem(t *testing.T) {
	columns := "(ts TIMESTAMP, id BIGINT, merchant VARCHAR, other VARCHAR, category VARCHAR, must VARCHAR NOT NULL, n INTEGER, small TINYINT, x DOUBLE, day DATE)"
	cases := map[string]string{
		"category = merchants":                                                                          `1:12: lookup "category = merchants" has another form; write`,
		"category = merchants.category":                                                                 "has another form",
		"category = merchants.category by":                                                              "has another form",
		"category = merchants.category by (merchant":                                                    "has another form",
		"category = merchants.category by merchant, other":                                              "has another form",
		"category = merchant.category by merchant":                                                      "there is no reference table merchant; did you mean merchants?",
		"category = shops.category by merchant":                                                         "there is no reference table shops; put it there as reference/shops.csv or .parquet",
		"category = sums.category by merchant":                                                          "reference/sums.sql is computed; a lookup reads a file of rows",
		"category = merchants.categry by merchant":                                                      "reference/merchants.csv has no column categry; it has merchant, category, since day, region",
		"category = merchants.category by other":                                                        "reference/merchants.csv has no column other",
		"categry = merchants.category by merchant":                                                      `annotation "lookup": there is no column categry; did you mean category?`,
		"category = merchants.category by mercant = merchant":                                           `there is no column mercant; did you mean merchant?`,
		"must = merchants.category by merchant":                                                         "column must is NOT NULL, and is looked up; leave NOT NULL out",
		"ts = merchants.\"since day\" by merchant":                                                      "column ts is the stream's time or id",
		"id = merchants.region by merchant":                                                             "column id is the stream's time or id",
		"n = merchants.category by merchant":                                                            "column n cannot take merchants.category: food of reference/merchants.csv is no INTEGER; declare it as VARCHAR",
		"small = odd.large by merchant = k":                                                             "column small cannot take odd.large: 300 of reference/odd.csv is no TINYINT; declare it as BIGINT",
		"n = odd.part by merchant = k":                                                                  "column n cannot take odd.part: 1.5 of reference/odd.csv is no INTEGER; declare it as DOUBLE",
		"category = merchants.category by n = region\n-- lookup: n = merchants.region by merchant":      "the key n is looked up itself",
		"category = merchants.category by merchant\n-- lookup: category = merchants.region by merchant": "2:4: column category is looked up in line 1 already",
		"category = merchants.category by n = merchant":                                                 "n, a INTEGER, cannot be the key of a merchant of reference/merchants.csv, which is a VARCHAR; give the stream's column",
		"category = merchants.category by merchant = region":                                            "merchant, a VARCHAR, cannot be the key of a region",
		"category = merchants.category by x = region":                                                   "x, a DOUBLE, cannot be the key",
		"category = merchants.category by small = region":                                               "",
		"category = twice.v by (merchant = a, n = b)":                                                   "reference/twice.csv has the key x, 2 (a, b) twice; keep one row of each key",
		"category = ragged.v by merchant":                                                               "", // the file's own problem is enough
	}
	files := map[string]string{"reference/merchants.csv": merchants, "reference/ragged.csv": "a,b\n1,2\n1,2,3,4\n5,6\n",
		"reference/sums.sql": "SELECT 1 AS category, 'x' AS merchant", "reference/odd.csv": "k,large,part\na,300,1.5\n", "reference/twice.csv": "a,b,v\nx,1,a\nx,2,b\ny,2,c\nx,2,d\n"}
	notes := slices.Sorted(maps.Keys(cases))
	for i, note := range notes { // each in a stream of its own
		files[fmt.Sprintf("streams/s%d.sql", i)] = fmt.Sprintf("-- lookup: %s\n-- time: ts\n-- id: id\nCREATE TABLE s%d %s;", note, i, columns)
	}
	_, err := load(t, files)
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for i, note := range notes {
		var of Problems
		for _, p := range problems {
			if p.File == fmt.Sprintf("streams/s%d.sql", i) {
				of = append(of, p)
			}
		}
		if want := cases[note]; len(of) > 1 || len(of) == 0 != (want == "") || !strings.Contains(of.Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", note, of, want)
		}
	}
}

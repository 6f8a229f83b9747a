package serving

import (
	"strings"
	"testing"

	"github.com/tailwater/tailwater/project"
)

// regions are reference tables that are computed from others, one of them before the
// one that it reads has been.
var regions = map[string]string{
	"reference/countries.csv":       "code,region\nDE,eu\nFR,eu\nUS,na\n",
	"reference/rates.csv":           "region,rate\neu,0.2\nna,0.1\n",
	"reference/a_named.sql":         "SELECT code, label(region) AS region, rate FROM countries_rated WHERE rate > 0",
	"reference/countries_rated.sql": "-- by country\nSELECT code, region, rate FROM countries JOIN rates USING (region)",
	"macros/label.sql":              "CREATE MACRO label(r) AS upper(r) || '!'",
}

func with(files map[string]string, more ...string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = text
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

func reference(p *project.Project, name string) *project.Reference {
	for _, r := range p.References {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func TestReferenceTablesAreComputedFromOthers(t *testing.T) {
	compute := func(files map[string]string) *project.Project {
		t.Helper()
		p := payFolder(t, files)
		_, problems, err := BindQueries(t.Context(), p)
		must(t, err)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p
	}
	p := compute(with(regions))
	named := reference(p, "a_named")
	if named.Rows.Len() != 3 || named.Rows.Value(0, 0) != "DE" || named.Rows.Value(2, 1) != "NA!" || len(named.Version) != 16 || named.Rows.Columns[2].Type.String() != "DOUBLE" {
		t.Errorf("%+v", named)
	}
	// The version is the rows', not the text's.
	same := compute(with(regions, "reference/a_named.sql", "SELECT code, label(region) AS region, rate FROM countries_rated ORDER BY rate", "reference/rates.csv", "region,rate\nna,0.1\neu,0.2\n"))
	if got := reference(same, "a_named").Version; got != named.Version {
		t.Errorf("the same rows are %s and %s", named.Version, got)
	}
	for _, other := range []map[string]string{with(regions, "reference/rates.csv", "region,rate\neu,0.3\nna,0.1\n"), with(regions, "macros/label.sql", "CREATE MACRO label(r) AS upper(r)")} {
		if got := reference(compute(other), "a_named").Version; got == named.Version {
			t.Error("other rows, and the same version")
		}
	}
}

func TestReferenceTablesThatCannotBeComputed(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT * FROM pay":                              "x.sql:1:15: there is no table \"pay\"; a reference table reads other reference tables (a_named, countries, countries_rated, rates); join streams",
		"SELECT\n now() AS t FROM rates":                 "x.sql: a reference table is a SELECT that gives the same rows at each start; leave now()",
		"SELECT nope FROM rates":                         "x.sql: Referenced column \"nope\"",
		"SELECT rate, rate FROM rates":                   "x.sql: two columns are called rate; give one of them",
		"SELECT getenv('HOME') AS h":                     "x.sql:1:8: ",
		"SELECT * FROM read_csv('/etc/passwd')":          "x.sql:1:",
		"DELETE FROM rates":                              "x.sql: only SELECT statements",
		"SELECT * FROM x":                                "x.sql: the table reads itself, by way of x",
		"SELECT i FROM range(1000) AS a(i), range(1001)": "x.sql: the table has more than 1000000 rows",
		"SELECT label(region, 2) AS l FROM rates":        "x.sql:1:8: label does not take 2 arguments",
	} {
		_, problems, err := BindQueries(t.Context(), payFolder(t, with(regions, "reference/x.sql", sql)))
		must(t, err)
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "reference/"+want) {
			t.Errorf("%s: %v, want %s", sql, problems, want)
		}
	}
}

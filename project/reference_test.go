package project

import (
	"errors"
	"strings"
	"testing"
)

func TestReferenceTablesAreReadWithTheirVersions(t *testing.T) {
	const clicks = "CREATE TABLE clicks (page VARCHAR)"
	p, err := load(t, map[string]string{"streams/clicks.sql": clicks,
		"reference/countries.csv": "code,name,since\nDE,Germany,1949-05-23\nFR,\"France, la\",1958-10-04\n", "reference/notes.txt": "not a table", "reference/.hidden.csv": "a\n1\n"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.References) != 1 {
		t.Fatalf("%d tables", len(p.References))
	}
	r := p.References[0]
	if r.Name != "countries" || r.File != "reference/countries.csv" || len(r.Version) != 16 || r.Rows.Len() != 2 || r.Rows.Value(1, 1) != "France, la" || r.Rows.Columns[2].Type.String() != "DATE" {
		t.Errorf("%+v", r)
	}
	again, err := load(t, map[string]string{"streams/clicks.sql": clicks, "reference/countries.csv": "code,name,since\nDE,Germany,1949-05-24\n"})
	if err != nil || again.References[0].Version == r.Version {
		t.Errorf("another content has the version %s (%v)", r.Version, err)
	}
	_, err = load(t, map[string]string{"streams/clicks.sql": clicks, "reference/clicks.csv": "a\n1\n", "reference/bad-name.csv": "a\n", "reference/broken.parquet": "nothing",
		"reference/ragged.csv": "a,b\n1,2\n1,2,3,4\n5,6\n"})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	for _, want := range []string{"bad-name.csv: \"bad-name\" is no name", "clicks.csv: clicks is already the name of streams/clicks.sql", "broken.parquet: ", "ragged.csv: "} {
		if !strings.Contains(problems.Error(), want) {
			t.Errorf("no %q in\n%v", want, problems)
		}
	}
	if strings.Contains(problems.Error(), "/tmp/") {
		t.Errorf("names directories:\n%v", problems)
	}
}

package main

import (
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/project"
)

// lookupTables gives ingest what the lookups of a stream read.
func lookupTables(s *project.Stream) ([]*ingest.Table, error) {
	var tables []*ingest.Table
	for i, l := range s.Schema.Lookups {
		t, err := ingest.NewTable(s.Schema, l, s.LookupRows[i].Batches)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// lookupJSON is a column that is looked up.
type lookupJSON struct {
	Column    string   `json:"column"`
	Reference string   `json:"reference"`
	Version   string   `json:"version"`
	From      string   `json:"from"`
	By        []string `json:"by"`
}

func lookupsJSON(s *event.Schema) (list []lookupJSON) {
	for _, l := range s.Lookups {
		var by []string
		for _, key := range l.Keys {
			by = append(by, s.Columns[key].Name)
		}
		for i, c := range l.Columns {
			list = append(list, lookupJSON{s.Columns[c].Name, l.Reference, l.Version, l.From[i], by})
		}
	}
	return list
}

// describeLookup says where a column comes from; "" if events bring it.
func describeLookup(s *event.Schema, column int) string {
	for _, l := range lookupsJSON(s) {
		if l.Column == s.Columns[column].Name {
			return fmt.Sprintf("· looked up: %s.%s by %s", l.Reference, printable(l.From), printable(strings.Join(l.By, ", ")))
		}
	}
	return ""
}

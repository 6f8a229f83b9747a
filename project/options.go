package project

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/config"
)

// dedupWindowDefault is how far back duplicates of an id are looked for: longer
// than a producer retries, short enough that the ids fit in memory.
const dedupWindowDefault = time.Hour

// annotate applies the annotations to the schema, and gives the format of the
// time column.
func (r *streamReader) annotate(s *event.Schema, notes annotations) (timeFormat string) {
	if n := notes.find("time"); n != nil {
		if s.TimeColumn = r.column(s, n, n.value); s.TimeColumn >= 0 && !isTime(s.Columns[s.TimeColumn]) {
			r.problem(n.value0, "make it a TIMESTAMP; how it is written in the events says `-- time-format:`",
				"column %s is a %s, and the time must be a TIMESTAMP or DATE", n.value, s.Columns[s.TimeColumn].Type)
			s.TimeColumn = -1
		}
	}
	if n := notes.find("id"); n != nil {
		s.IDColumn = r.column(s, n, n.value)
	}
	s.DedupWindow = r.dedupWindow(s, notes)
	for i := range notes {
		if notes[i].key == "time-format" {
			r.timeFormat(s, &notes[i])
		}
	}
	if s.TimeColumn >= 0 {
		timeFormat = s.Formats[s.TimeColumn]
	}
	return timeFormat
}

func isTime(c event.Column) bool { return c.Kind == event.Timestamp || c.Kind == event.Date }

// timeFormat applies one annotation "time-format: %Y…", which belongs to the
// time column, or "time-format: column = %Y…".
func (r *streamReader) timeFormat(s *event.Schema, n *annotation) {
	column, format, ok := s.TimeColumn, n.value, true
	if name, rest, named := strings.Cut(n.value, "="); named && !strings.Contains(name, "%") {
		column, format = r.column(s, n, strings.TrimSpace(name)), strings.TrimSpace(rest)
		ok = column >= 0
	} else if column < 0 {
		ok = false
		r.problem(n.key0, "add `-- time: column`, or write `-- time-format: column = %Y-%m-%d`", "the format belongs to no column")
	}
	switch {
	case !ok:
	case !isTime(s.Columns[column]):
		r.problem(n.value0, "only a TIMESTAMP or DATE has a format", "column %s is a %s", s.Columns[column].Name, s.Columns[column].Type)
	case s.Formats[column] != "":
		r.problem(n.key0, "keep one of them", "column %s has a format already", s.Columns[column].Name)
	default:
		if message := checkFormat(format); message != "" {
			r.problem(n.value0, "known are "+strings.Join(directives, " "), "%s", message)
			return
		}
		if s.Formats == nil {
			s.Formats = map[int]string{}
		}
		s.Formats[column] = format
	}
}

// directives are those of strptime that ingest compiles.
var directives = strings.Fields("%Y %y %m %b %B %d %j %a %A %H %I %p %M %S %f %z %F %T %s %Q %%")

// checkFormat says what is wrong with the directives of a format; empty if
// nothing is. Whether they make up a time is for ingest to say.
func checkFormat(format string) string {
	if !strings.Contains(format, "%") {
		return fmt.Sprintf("time-format %q has no directive", format)
	}
	for rest := format; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			return ""
		}
		after = strings.TrimPrefix(after, "-") // %-d is %d without its leading zero
		if after == "" || !slices.Contains(directives, "%"+after[:1]) {
			return fmt.Sprintf("time-format %q: the directive %%%s is not known", format, after[:min(1, len(after))])
		}
		rest = after[1:]
	}
}

// column finds the column that an annotation names; -1 with a problem if there
// is none.
func (r *streamReader) column(s *event.Schema, n *annotation, name string) int {
	if i := s.Index(name); i >= 0 {
		return i
	}
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = c.Name
	}
	hint := "the stream has " + strings.Join(names, ", ")
	if near := config.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	r.problem(n.value0, hint, "annotation %q: there is no column %s", n.key, name)
	return -1
}

// dedupWindow gives the window of a stream with an id, 0 without one.
func (r *streamReader) dedupWindow(s *event.Schema, notes annotations) time.Duration {
	n := notes.find("dedup-window")
	switch {
	case n == nil && notes.find("id") == nil:
		return 0
	case n == nil:
		return dedupWindowDefault
	case notes.find("id") == nil:
		r.problem(n.key0, "add `-- id: column`", "a dedup-window needs an id")
		return 0
	}
	d, err := time.ParseDuration(n.value)
	if err != nil || d <= 0 {
		r.problem(n.value0, "write 30m, 1h or 24h", "dedup-window %q is not a duration greater than 0", n.value)
	}
	return d
}

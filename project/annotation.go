package project

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tailwater/tailwater/internal/config"
)

// The annotations that each kind of file takes.
var (
	streamAnnotations = []string{"time", "time-format", "id", "dedup-window", "lookup"}
	viewAnnotations   = []string{"description", "bounds", "timezone", "cap", "reference"}
	macroAnnotations  = []string{"description"}
	queryAnnotations  = []string{"description", "param"}
)

// An annotation is a comment "-- key: value" above a file's first statement.
type annotation struct {
	key, value string
	key0       place // of the key
	value0     place // of the value
}

type annotations []annotation

// find gives the annotation of that key, nil if there is none.
func (a annotations) find(key string) *annotation {
	for i := range a {
		if a[i].key == key {
			return &a[i]
		}
	}
	return nil
}

// text gives the value of a key, "" if there is none.
func (a annotations) text(key string) string {
	if n := a.find(key); n != nil {
		return n.value
	}
	return ""
}

// annotationLine is the form that makes a comment an annotation: one word, a
// colon, and a space or the line's end (so that a URL is none).
var annotationLine = regexp.MustCompile(`^(\s*--\s*)([A-Za-z][A-Za-z0-9_-]*)(\s*:(?:\s+|$))(.*)$`)

// readAnnotations reads the comments at the top of a file, through the last
// line before the statement begins.
func readAnnotations(src source, known []string) (annotations, Problems) {
	var out annotations
	var problems Problems
	problem := func(at place, message, hint string) {
		problems = append(problems, &Problem{src.file, at.line, at.column, message, hint})
	}
	for i, line := range strings.Split(src.text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		trimmed := strings.TrimSpace(line)
		if trimmed != "" && !strings.HasPrefix(trimmed, "--") {
			break
		}
		m := annotationLine.FindStringSubmatch(line)
		if m == nil {
			continue // an ordinary comment
		}
		column := 1 + len([]rune(m[1]))
		n := annotation{key: strings.ToLower(m[2]), value: m[4], key0: place{i + 1, column}}
		n.value0 = place{i + 1, column + len([]rune(m[2]+m[3]))}
		switch earlier := out.find(n.key); {
		case !slices.Contains(known, n.key):
			problem(n.key0, fmt.Sprintf("unknown annotation %q", n.key), unknownAnnotationHint(n.key, known))
		case n.value == "":
			problem(n.key0, fmt.Sprintf("the annotation %q has no value", n.key), "write it behind the colon, or drop the line")
		case earlier != nil && n.key != "time-format" && n.key != "param" && n.key != "lookup":
			problem(n.key0, fmt.Sprintf("the annotation %q is already in line %d", n.key, earlier.key0.line), "keep one of them")
		default:
			out = append(out, n)
		}
	}
	return out, problems
}

func unknownAnnotationHint(key string, known []string) string {
	if near := config.Nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("known here: %s; for an ordinary comment leave out the colon", strings.Join(known, ", "))
}

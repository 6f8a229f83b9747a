// Package gatecorpus holds the statements that every door to SQL is tested with:
// those that must be refused, those that must be answered, and those that would
// take the machine if nothing stopped them.
//
// A file has one statement a line. "== name" heads a section: in refused.txt it
// is the Code of the refusal, elsewhere a topic. Lines that begin with "# " are
// comments, empty ones nothing. The escapes \n, \t and \r stand for themselves,
// \0 for a NUL, and \xff, \u200b, \u202e, \ufeff, \u00a0, \u2028 for what is invisible or
// invalid in a text file; <<N:text>> stands for text written N
// times, with § in it for the number of the copy. No other
// backslash is an escape.
package gatecorpus

import (
	_ "embed"
	"regexp"
	"strconv"
	"strings"
)

// A Statement is one line of a corpus.
type Statement struct {
	Section string
	SQL     string
}

var (
	//go:embed refused.txt
	refused string
	//go:embed admitted.txt
	admitted string
	//go:embed bombs.txt
	bombs string
)

// Refused are statements that must be refused with the code that Section says,
// and must change nothing. They read the tables payments, orders, daily and
// tailwater.view_errors where they need one.
func Refused() []Statement { return parse(refused) }

// Admitted are statements as people and tools write them.
func Admitted() []Statement { return parse(admitted) }

// Bombs are statements that need more time or memory than a query has. They must
// end soon after their time limit, with an error or an answer.
func Bombs() []Statement { return parse(bombs) }

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\xff`, "\xff",
	`\u200b`, "\u200b", `\u202e`, "\u202e", `\ufeff`, "\ufeff", `\u00a0`, "\u00a0", `\u2028`, "\u2028")

var repetition = regexp.MustCompile(`<<([0-9]+):((?:[^<>]|<[^<]|>[^>])*)>>`)

func parse(file string) (list []Statement) {
	section := ""
	for _, line := range strings.Split(file, "\n") {
		switch {
		case line == "" || strings.HasPrefix(line, "# "):
		case strings.HasPrefix(line, "== "):
			section = line[3:]
		default:
			list = append(list, Statement{section, escapes.Replace(repeat(line))})
		}
	}
	return list
}

// repeat writes <<N:text>> out, innermost first.
func repeat(line string) string {
	for repetition.MatchString(line) {
		line = repetition.ReplaceAllStringFunc(line, func(s string) string {
			m := repetition.FindStringSubmatch(s)
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return "" // the pattern has digits alone: too many of them
			}
			var out strings.Builder
			for i := range n {
				out.WriteString(strings.ReplaceAll(m[2], "§", strconv.Itoa(i)))
			}
			return out.String()
		})
	}
	return line
}

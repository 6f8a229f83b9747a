package config

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// Template gives a settings file in which every setting is a comment with its
// help and default, so that it says what there is and changes nothing.
func Template() string {
	var b strings.Builder
	b.WriteString("# Where this project runs and how much it may take. Every setting can also be a\n" +
		"# flag of `tailwater serve` and an environment variable: land-age is --land-age\n" +
		"# and TAILWATER_LAND_AGE. A flag beats the variable, the variable beats this file.\n")
	k, err := kong.New(&Settings{}, kong.Name("tailwater"))
	if err != nil {
		panic("config: the tags of Settings do not parse: " + err.Error()) // a constant of the program
	}
	group := ""
	for _, flag := range k.Model.Flags {
		if flag.Name == "help" {
			continue
		}
		if flag.Group != nil && flag.Group.Title != group {
			group = flag.Group.Title
			fmt.Fprintf(&b, "\n# %s\n", group)
		}
		value := flag.Default
		if strings.ContainsAny(value, "*:@") {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&b, "\n# %s\n# %s:%s\n", flag.Help, flag.Name, strings.TrimRight(" "+value, " "))
	}
	return b.String()
}

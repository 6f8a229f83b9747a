package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/project"
)

// InitCmd makes a project.
type InitCmd struct {
	Dir    string     `arg:"" help:"Folder to make; it must be empty or not exist." placeholder:"DIR"`
	From   string     `help:"A sample of the events (CSV, NDJSON, JSON array or Parquet), from which the stream and a first view are derived." placeholder:"FILE"`
	Stream string     `help:"Name of the stream. Default: made from the file's name." placeholder:"NAME"`
	Format fileFormat `help:"Format of the sample, if its name and content do not tell: ${enum}." enum:",ndjson,json,csv,parquet" default:"" placeholder:"FORMAT"`
}

// Help is shown by --help.
func (c *InitCmd) Help() string {
	return `The sample is only read. What is derived from it is a beginning: edit it, then run tailwater validate.

Examples:

    tailwater init flights --from flights.json
    tailwater init payments --from export.csv.gz --stream payments`
}

// Run writes the project and validates it.
func (c *InitCmd) Run(ctx context.Context, out *output) error {
	if err := mustBeEmpty(c.Dir); err != nil {
		return err
	}
	files := map[string]string{config.FileName: config.Template()}
	var d *draft
	if c.From != "" {
		name := firstOf(c.Stream, identifier(c.From))
		var err error
		// Before anything is written: a sample that cannot be read leaves no folder.
		if d, err = draftFrom(ctx, c.From, c.Format, name); err != nil {
			return fmt.Errorf("read the sample %s: %w", c.From, err)
		}
		files[project.StreamsDir+"/"+name+".sql"] = d.streamSQL()
		files[project.ViewsDir+"/"+d.viewName()+".sql"] = d.viewSQL()
	}
	files["README.md"] = readme(c.Dir, c.From, d)
	for _, sub := range []string{project.StreamsDir, project.ViewsDir} {
		if err := os.MkdirAll(filepath.Join(c.Dir, sub), 0o755); err != nil {
			return fmt.Errorf("make the project: %w", err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(c.Dir, filepath.FromSlash(name)), []byte(content), 0o644); err != nil {
			return fmt.Errorf("make the project: %w", err)
		}
	}
	if d == nil {
		fmt.Fprintf(out.out, "made %s; now write %s/NAME.sql, as its README.md shows\n", c.Dir, project.StreamsDir)
		return nil
	}
	for _, note := range d.notes {
		fmt.Fprintf(out.err, "note: %s\n", printable(note))
	}
	p, err := checkProject(ctx, c.Dir)
	if err != nil {
		return fmt.Errorf("the project was made, but needs a hand before it can be served:\n%w", err)
	}
	writeProject(out, p)
	fmt.Fprintf(out.out, "made %s; next: tailwater serve %s\n", c.Dir, c.Dir)
	return nil
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("make the project: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty, and nothing is overwritten; name a new folder", dir)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// identifier makes a file's name the name of a stream.
func identifier(file string) string {
	base, _, _ := strings.Cut(strings.ToLower(filepath.Base(file)), ".")
	name := strings.Trim(notInNames.ReplaceAllString(base, "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = strings.TrimSuffix("events_"+name, "_")
	}
	return name[:min(len(name), 60)]
}

const readmeHead = `# %s

- %s says where things run; everything in it has a default.
- streams/ has one CREATE TABLE a file: what events look like. Annotations at the
  top name the time column and how it is written (` + "`-- time: ts`, `-- time-format: %%d.%%m.%%Y`" + `),
  and the column by which duplicates are dropped (` + "`-- id: key`" + `).
- views/ has one SELECT over one stream a file, with tumble(time, INTERVAL …) for
  windows. Its answer is exact at every moment, over history and the newest events.
- macros/ has functions of your own, for views and queries: one
  CREATE MACRO a file.
- queries/ has one SELECT a file, with parameters (` + "`-- param: country VARCHAR`" + `):
  each is an address, /v1/queries/NAME?country=DE.

`

// readme tells what to do next, with the names of the project.
func readme(dir, from string, d *draft) string {
	text := fmt.Sprintf(readmeHead, filepath.Base(dir), config.FileName)
	if d == nil {
		return text + "A first stream, streams/clicks.sql:\n\n" +
			"    -- time: ts\n    CREATE TABLE clicks (ts TIMESTAMP NOT NULL, page VARCHAR, ms INTEGER);\n\n" +
			"A first view, views/clicks_hourly.sql:\n\n" +
			"    SELECT page, count(*) AS clicks, avg(ms) AS ms\n    FROM clicks\n    GROUP BY page, tumble(ts, INTERVAL '1 hour')\n\n" +
			"Then:\n\n    tailwater validate\n    tailwater serve\n"
	}
	sample, err := filepath.Abs(from)
	if err != nil {
		sample = from
	}
	return text + "In this folder:\n\n    tailwater validate\n    tailwater serve\n\nAnd beside it:\n\n" +
		fmt.Sprintf("    tailwater send %s %s\n    tailwater view %s --limit 10\n    tailwater view %s --check\n    tailwater sql \"SELECT count(*) FROM %s\"\n",
			d.stream, sample, d.viewName(), d.viewName(), d.stream)
}

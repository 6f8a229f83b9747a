package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// release is set by the linker when a release is built: -X main.release=v1.2.3.
var release = ""

// version gives the release, or else the commit that the program was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := "development"
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text += " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += " with changes"
		}
	}
	return text
}

// VersionCmd shows the version.
type VersionCmd struct {
	JSON bool `name:"json" help:"Print the versions as JSON."`
}

// Help is shown by --help.
func (c *VersionCmd) Help() string {
	return `The engine's version is part of every view's version: partials of different engines are never merged.

Example:

    tailwater version --json`
}

// Run prints the versions of the program, its engine and its compiler.
func (c *VersionCmd) Run(ctx context.Context, out *output) error {
	engine, err := engineVersion(ctx)
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(out.out).Encode(map[string]string{
			"version": version(), "duckdb": engine, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
		})
	}
	_, err = fmt.Fprintf(out.out, "tailwater %s (DuckDB %s, %s, %s/%s)\n", version(), engine, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func engineVersion(ctx context.Context) (string, error) {
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1})
	if err != nil {
		return "", err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	r, err := conn.Collect(ctx, "SELECT version()")
	if err != nil {
		return "", err
	}
	return r.Value(0, 0).(string), nil
}

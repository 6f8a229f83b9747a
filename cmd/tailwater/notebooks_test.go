package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// repository is where the files are that users get beside the program.
const repository = "../.."

func notebooks(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repository, "notebooks", "*.ipynb"))
	if err != nil || len(found) != 2 {
		t.Fatalf("%v %v", found, err)
	}
	return found
}

// A diff of outputs hides that of the code, and they age.
func TestNotebooksAreKeptWithoutOutputs(t *testing.T) {
	for _, path := range notebooks(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		book := mustDecode[struct {
			Format int `json:"nbformat"`
			Cells  []struct {
				ID        string            `json:"id"`
				Type      string            `json:"cell_type"`
				Source    []string          `json:"source"`
				Outputs   []json.RawMessage `json:"outputs"`
				Execution *int              `json:"execution_count"`
				Metadata  map[string]any    `json:"metadata"`
			} `json:"cells"`
		}](t, text)
		if book.Format != 4 || len(book.Cells) == 0 {
			t.Errorf("%s: nbformat %d, %d cells", path, book.Format, len(book.Cells))
		}
		for i, c := range book.Cells {
			if c.ID == "" || len(c.Source) == 0 || len(c.Metadata) > 0 {
				t.Errorf("%s, cell %d: without id or text, or with metadata %v", path, i, c.Metadata)
			}
			if len(c.Outputs) > 0 || c.Execution != nil {
				t.Errorf("%s, cell %d has outputs: clear them before committing", path, i)
			}
		}
	}
}

// TestNotebooksRunFromTheFirstCellToTheLast executes them, assertions included,
// against the real program and the project that they tell the reader to serve.
func TestNotebooksRunFromTheFirstCellToTheLast(t *testing.T) {
	python := tool(t, "TAILWATER_TEST_PYTHON")
	data := t.TempDir()
	p := startReady(t, filepath.Join(repository, "notebooks", "project"), data, nil)
	if code, out, stderr := runCLI(t, "", "healthcheck", "--url", p.url); code != 0 {
		t.Errorf("healthcheck of a ready server: %d %s%s", code, out, stderr)
	}
	home := t.TempDir() // nothing of the user's Jupyter, and nothing left in it
	env := append(os.Environ(), "TAILWATER_URL="+p.url, "TAILWATER_LAKE="+filepath.Join(data, "lake"), "MPLBACKEND=module://matplotlib_inline.backend_inline",
		"HOME="+home, "IPYTHONDIR="+home, "JUPYTER_CONFIG_DIR="+home, "JUPYTER_DATA_DIR="+home, "JUPYTER_RUNTIME_DIR="+home, "MPLCONFIGDIR="+home)
	for _, path := range notebooks(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".ipynb"), func(t *testing.T) {
			absolute, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var stderr strings.Builder
			cmd := exec.CommandContext(ctx, python, "testdata/notebook.py", absolute)
			cmd.Env, cmd.Stderr = env, &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, stderr.String(), p.output())
			}
			done := mustDecode[struct {
				Images   int    `json:"images"`
				Text     string `json:"text"`
				Warnings string `json:"warnings"`
			}](t, out)
			if done.Warnings != "" {
				t.Errorf("a reader would see warnings: %s", done.Warnings)
			}
			switch filepath.Base(path) {
			case "01-quickstart.ipynb":
				mustContain(t, "output", done.Text, "difference: 0")
				if done.Images != 1 {
					t.Errorf("%d charts", done.Images)
				}
			case "02-lake.ipynb":
				mustContain(t, "output", done.Text, "rows, all equal")
			}
		})
	}
	p.stop()
}

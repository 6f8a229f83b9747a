package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// HealthcheckCmd asks a server for its health: what a supervisor runs where
// there is no shell and no curl.
type HealthcheckCmd struct {
	Live bool `help:"Ask whether the process lives (/healthz), not whether it gives answers (/readyz)."`
	// 3 s is far beyond what a healthy server needs, and within the usual
	// period of a supervisor.
	Timeout time.Duration `help:"How long to wait for the answer." default:"3s" placeholder:"DURATION"`
	JSON    bool          `name:"json" help:"Print the outcome as JSON."`
	remote
}

// Help is shown by --help.
func (c *HealthcheckCmd) Help() string {
	return `Exit code 0 if the server answers 200 in time, else 1 with the reason on standard error. Without --live a server that is starting fails: use it to route requests, and --live to decide about a restart.

Examples:

    tailwater healthcheck
    tailwater healthcheck --live --url http://127.0.0.1:8080 --timeout 1s
    tailwater healthcheck --json | jq .elapsed_ms`
}

// A health is the outcome of one check. Status is 0 if there was no answer.
type health struct {
	Healthy   bool    `json:"healthy"`
	URL       string  `json:"url"`
	Path      string  `json:"path"`
	Status    int     `json:"status,omitempty"`
	Reason    string  `json:"reason,omitempty"`
	ElapsedMS float64 `json:"elapsed_ms"`
}

// Run asks once.
func (c *HealthcheckCmd) Run(ctx context.Context, out *output) error {
	if c.Timeout <= 0 {
		return errors.New("--timeout must be greater than 0")
	}
	h := health{URL: c.URL, Path: "/readyz"}
	if c.Live {
		h.Path = "/healthz"
	}
	started := time.Now()
	var err error
	h.Status, err = c.ask(ctx, h.Path)
	h.ElapsedMS = float64(time.Since(started).Microseconds()) / 1000
	h.Healthy = err == nil
	if err != nil {
		h.Reason = err.Error()
	}
	if c.JSON {
		if err := json.NewEncoder(out.out).Encode(h); err != nil {
			return err
		}
	} else if h.Healthy {
		fmt.Fprintf(out.out, "healthy: %s%s in %.1f ms\n", c.URL, h.Path, h.ElapsedMS)
	}
	return err
}

// ask gives the status of the answer, 0 if there was none, and why it is no health.
func (c *HealthcheckCmd) ask(ctx context.Context, path string) (int, error) {
	within, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	resp, err := c.do(within, request{method: http.MethodGet, path: path, health: true})
	var refusal *apiError
	switch {
	case err == nil:
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.StatusCode, fmt.Errorf("%s answered %s; only 200 is health (is --url right?)", path, resp.Status)
		}
		return resp.StatusCode, nil
	case errors.As(err, &refusal):
		return refusal.Status, fmt.Errorf("%s answered %d: %w", path, refusal.Status, refusal)
	case within.Err() != nil && ctx.Err() == nil:
		return 0, fmt.Errorf("no answer from %s%s within %s", c.URL, path, c.Timeout)
	}
	return 0, err
}

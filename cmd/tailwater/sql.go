package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// SQLCmd queries streams and views.
type SQLCmd struct {
	Statement string `arg:"" help:"One SELECT over streams and views as tables; - reads it from standard input." placeholder:"SQL"`
	After     string `help:"Wait until the answer covers this position, as send prints it." placeholder:"POSITION"`
	formatFlags
	remote
}

// Help is shown by --help.
func (c *SQLCmd) Help() string {
	return `Streams and views are tables, all at one cut. Rows go to standard output, what is known about them to standard error.

Examples:

    tailwater sql "SELECT origin, count(*) FROM flights GROUP BY ALL ORDER BY 2 DESC LIMIT 5"
    tailwater sql - --format csv < report.sql > report.csv`
}

// statementBytesMax is beyond what the server takes.
const statementBytesMax = 1 << 20

// Run sends the statement and prints the answer.
func (c *SQLCmd) Run(ctx context.Context, out *output) error {
	if c.Statement == "-" {
		text, err := io.ReadAll(io.LimitReader(out.in, statementBytesMax))
		if err != nil {
			return fmt.Errorf("read the statement: %w", err)
		}
		c.Statement = string(text)
	}
	if strings.TrimSpace(c.Statement) == "" {
		return fmt.Errorf("the statement is empty; write tailwater sql \"SELECT …\"")
	}
	body, err := json.Marshal(map[string]string{"sql": c.Statement})
	if err != nil {
		return err
	}
	r := request{method: http.MethodPost, path: "/v1/sql", accept: c.accept(), contentType: "application/json", body: body, query: url.Values{}}
	if c.After != "" {
		r.query.Set("after", c.After)
	}
	started := time.Now()
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	return c.show(out, resp, started)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// A dashboard is a file of deploy/grafana/dashboards, with what we check of it.
type dashboard struct {
	Panels     []dashboardPanel
	Templating struct {
		List []struct {
			Name, Type, Query string
			Datasource        struct{ Type, UID string }
		}
	}
}

type dashboardPanel struct {
	ID          int
	Title, Type string
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		Format, RawSQL, Expr string
		Datasource           struct{ Type, UID string }
	}
}

// grafanaSources reads the data sources that are provisioned, as the container has
// its variables.
func grafanaSources(t *testing.T, variables map[string]string) map[string]string {
	t.Helper()
	text := regexp.MustCompile(`\$\w+`).ReplaceAllStringFunc(readRepository(t, "deploy/grafana/provisioning/datasources/tailwater.yaml"), func(use string) string {
		value, known := variables[use[1:]]
		if !known {
			t.Errorf("%s is given to no container", use)
		}
		return value
	})
	var file struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL, User string
			IsDefault                          bool              `yaml:"isDefault"`
			JSONData                           map[string]any    `yaml:"jsonData"`
			SecureJSONData                     map[string]string `yaml:"secureJsonData"`
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, d := range file.Datasources {
		if d.URL == "" || d.Access != "proxy" {
			t.Errorf("source %s: URL %q, access %q", d.Name, d.URL, d.Access)
		}
		types[d.UID] = d.Type
	}
	return types
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readRepository(t, "deploy/grafana/dashboards/payments.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGrafanaFindsWhatIsProvisioned(t *testing.T) {
	c := compose(t, nil)
	s := c.Services["grafana"]
	sources := grafanaSources(t, s.Environment)
	var provider struct {
		Providers []struct {
			Options struct{ Path string }
		}
	}
	if err := yaml.Unmarshal([]byte(readRepository(t, "deploy/grafana/provisioning/dashboards/tailwater.yaml")), &provider); err != nil {
		t.Fatal(err)
	}
	if path := provider.Providers[0].Options.Path; !slices.Contains(s.Volumes, "./deploy/grafana/dashboards:"+path+":ro") {
		t.Errorf("dashboards are looked for in %s; mounted are %v", path, s.Volumes)
	}
	d, ids := readDashboard(t), map[int]bool{}
	for _, v := range d.Templating.List {
		if v.Type == "query" && sources[v.Datasource.UID] != v.Datasource.Type {
			t.Errorf("variable %s asks a source %v, which is not provisioned", v.Name, v.Datasource)
		}
	}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %s has the id of another", p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			if target.Datasource != p.Datasource || sources[target.Datasource.UID] != target.Datasource.Type {
				t.Errorf("panel %s asks a source %v, which is not provisioned", p.Title, target.Datasource)
			}
		}
	}
	mustContain(t, "what Prometheus reads", readRepository(t, "deploy/grafana/prometheus.yml"), c.Services["tailwater"].listens("--http"))
	if at := c.Services["tailwater"].listens("--postgres"); s.Environment["SOURCE_ADDRESS"] != at {
		t.Errorf("Grafana asks %s, Postgres clients are served at %s", s.Environment["SOURCE_ADDRESS"], at)
	}
}

// listens gives the address of the service, by its flag, for other services.
func (s *composeService) listens(flag string) string {
	_, port, _ := strings.Cut(s.Command[slices.Index(s.Command, flag)+1], ":")
	return "tailwater:" + port
}

// grafanaMacros are those of Grafana's Postgres data source that the dashboard uses,
// as that source expands them.
func grafanaMacros(t *testing.T, sql string, from, to time.Time) string {
	t.Helper()
	sql = strings.ReplaceAll(sql, "$__interval", "30s")
	at := func(x time.Time) string { return "'" + x.UTC().Format(time.RFC3339Nano) + "'" }
	return regexp.MustCompile(`\$__(\w+)\(([^)]*)\)`).ReplaceAllStringFunc(sql, func(use string) string {
		m := regexp.MustCompile(`\$__(\w+)\(([^)]*)\)`).FindStringSubmatch(use)
		args := strings.Split(m[2], ",")
		switch m[1] {
		case "timeFilter":
			return fmt.Sprintf("%s BETWEEN %s AND %s", args[0], at(from), at(to))
		case "timeGroupAlias":
			every, err := time.ParseDuration(strings.Trim(args[1], " '"))
			if err != nil {
				t.Fatalf("%s: %v", use, err)
			}
			return fmt.Sprintf(`floor(extract(epoch from %s)/%v)*%v AS "time"`, args[0], every.Seconds(), every.Seconds())
		}
		t.Fatalf("%s: this test does not know the macro", use)
		return ""
	})
}

// panelColumns are what each panel of the dashboard shows.
var panelColumns = map[string]string{
	"Payments": "payments", "Revenue": "revenue", "Declined": "declined", "Largest payment": "largest", "Newest payment": "newest", "View − stream": "difference",
	"Payments by minute": "time payments declined", "Revenue by country": "time metric revenue", "Amounts, from the stream": "time mean p99",
	"Top merchants": "merchant payments revenue declined_share", "Suspicious cards": "window_start card payments declined amount last_seen",
	"Newest payments": "ts merchant country amount status", "Country beside its neighbours": "country revenue share declined", "Refused records": "field reason records",
}

func TestEveryPanelOfTheGrafanaDashboardShowsTheDemo(t *testing.T) {
	t.Parallel()
	p := startDemo(t, t.TempDir(), "--postgres", "127.0.0.1:0")
	d := readDashboard(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	await(t, ctx, func() bool { return postgresLine.MatchString(p.output()) })
	wire, err := pgconn.Connect(ctx, postgresLine.FindStringSubmatch(p.output())[1])
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close(ctx)
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		switch v.Type {
		case "query":
			var a answered
			await(t, ctx, func() bool { a = p.mustGet("/v1/sql", v.Query); return a.Rows > 0 })
			var values []string
			for _, row := range a.Data {
				values = append(values, "'"+strings.ReplaceAll(fmt.Sprint(row[a.names()[0]]), "'", "''")+"'")
			}
			variables["${"+v.Name+":sqlstring}"] = strings.Join(values, ",")
		case "custom":
			variables["${"+v.Name+"}"], _, _ = strings.Cut(v.Query, ",")
		}
	}
	metrics := p.metrics(t)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			for _, name := range regexp.MustCompile(`tailwater_\w+`).FindAllString(target.Expr, -1) {
				if !strings.Contains(metrics, "\n"+name) {
					t.Errorf("panel %s: there is no metric %s", panel.Title, name)
				}
			}
			if target.RawSQL == "" {
				continue
			}
			var a answered
			var sql string
			// The demo begins with the last hour, some of which may be on its way.
			await(t, ctx, func() bool {
				now := time.Now().Truncate(time.Minute)
				sql = grafanaMacros(t, target.RawSQL, now.Add(-30*time.Minute), now.Add(time.Minute-time.Millisecond))
				for use, value := range variables {
					sql = strings.ReplaceAll(sql, use, value)
				}
				a = p.mustGet("/v1/sql", sql)
				return a.Rows > 0 && (panel.Type != "stat" || a.Data[0][a.names()[0]] != nil)
			})
			if a.Rows == 0 {
				t.Errorf("panel %s shows nothing", panel.Title)
			}
			if got := strings.Join(a.names(), " "); got != panelColumns[panel.Title] {
				t.Errorf("panel %s has the columns %q, want %q", panel.Title, got, panelColumns[panel.Title])
			}
			results, err := wire.Exec(ctx, sql).ReadAll()
			if err != nil {
				t.Fatalf("panel %s over Postgres' protocol: %v\n%s", panel.Title, err, sql)
			}
			mustSuit(t, panel, target.Format, results[0])
			if panel.Title == "View − stream" && fmt.Sprint(a.Data[0]["difference"]) != "0" {
				t.Errorf("the view and its stream differ by %v at one cut", a.Data[0]["difference"])
			}
		}
	}
}

// mustSuit fails unless Grafana can draw the result: a chart wants a time, which may
// be seconds, and numbers, and takes one text for the name of a line.
func mustSuit(t *testing.T, panel dashboardPanel, format string, r *pgconn.Result) {
	t.Helper()
	numbers := []uint32{pgtype.Int8OID, pgtype.Int4OID, pgtype.Float8OID, pgtype.NumericOID}
	var names []string
	for i, f := range r.FieldDescriptions {
		names = append(names, f.Name)
		if format != "time_series" && panel.Type != "stat" || f.Name == "metric" {
			continue
		}
		if f.Name == "time" && i != 0 || !slices.Contains(numbers, f.DataTypeOID) {
			t.Errorf("panel %s cannot draw column %s of type %d", panel.Title, f.Name, f.DataTypeOID)
		}
	}
	if got := strings.Join(names, " "); got != panelColumns[panel.Title] || len(r.Rows) == 0 {
		t.Errorf("panel %s has over Postgres' protocol %d rows of %q", panel.Title, len(r.Rows), got)
	}
}

func (a answered) names() (names []string) {
	for _, m := range a.Meta {
		names = append(names, m.Name)
	}
	return names
}

func (p *process) metrics(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

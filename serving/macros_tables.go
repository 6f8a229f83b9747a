package serving

import (
	"fmt"
	"strings"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// maxSeries bounds the values of a series that a macro makes.
const maxSeries = 1_000_000

// gapFill gives a row for each step of time and each key. The range of time
// without from and to is that of the rows.
var gapFill = tableMacro{
	usage:      "gap_fill((SELECT …), time, INTERVAL '1 minute' [, from [, to]] [, by => [key, …]] [, fill => 'null' | 'previous' | 'zero' | 'linear'])",
	positional: []string{"time", "step", "from?", "to?"},
	named:      map[string]argument{"time": column, "step": duration, "from": instantOf, "to": instantOf, "by": columns, "fill": word},
	sql: func(a arguments) (string, error) {
		time, by := a.text["time"], a.lists["by"]
		value := map[string]string{
			"": "COLUMNS(* EXCLUDE (%s))", "null": "COLUMNS(* EXCLUDE (%s))", "zero": "coalesce(COLUMNS(* EXCLUDE (%s)), 0)",
			"previous": "last_value(COLUMNS(* EXCLUDE (%s)) IGNORE NULLS) OVER tw_w", "linear": "fill(COLUMNS(* EXCLUDE (%s))) OVER tw_w",
		}[a.text["fill"]]
		if value == "" {
			return "", fmt.Errorf("fill: 'null', 'previous', 'zero' or 'linear' is expected")
		}
		from, to := "(SELECT min("+time+") FROM tw_rows)", "(SELECT max("+time+") FROM tw_rows) + tw_step"
		if a.has("from") {
			from = "tw_from"
		}
		if a.has("to") {
			to = "tw_to"
		}
		keys := append([]string{time}, by...)
		return `WITH tw_rows AS (SELECT * REPLACE (time_bucket(tw_step, ` + time + `::TIMESTAMP) AS ` + time + `) FROM tw_source AS tw_s),
			tw_bounds AS (SELECT time_bucket(tw_step, (` + from + `)::TIMESTAMP) AS tw_a, (` + to + `)::TIMESTAMP AS tw_b, epoch(tw_step) AS tw_n),
			tw_grid AS (SELECT unnest(CASE WHEN tw_within((epoch(tw_b) - epoch(tw_a)) / tw_n, ` + fmt.Sprint(maxSeries) + `) THEN range(tw_a, tw_b, tw_step) END) AS ` + time + ` FROM tw_bounds),
			tw_all AS (` + grid(time, by) + `),
			tw_filled AS (SELECT tw_rows.* REPLACE (` + renamedFrom("tw_all", keys) + `) FROM tw_all LEFT JOIN tw_rows ON ` + same("tw_all", "tw_rows", keys) + `)
			SELECT ` + commas(keys) + `, ` + fmt.Sprintf(value, commas(keys)) + ` FROM tw_filled ` + windowOf(by, time) + ` ORDER BY ` + commas(append(by[:len(by):len(by)], time)), nil
	},
}

// grid is every time with every key.
func grid(time string, by []string) string {
	if len(by) == 0 {
		return "SELECT " + time + " FROM tw_grid"
	}
	return "SELECT tw_grid." + time + ", tw_keys.* FROM (SELECT DISTINCT " + commas(by) + " FROM tw_rows) AS tw_keys CROSS JOIN tw_grid"
}

func windowOf(by []string, time string) string {
	if len(by) == 0 {
		return "WINDOW tw_w AS (ORDER BY " + time + ")"
	}
	return "WINDOW tw_w AS (PARTITION BY " + commas(by) + " ORDER BY " + time + ")"
}

// anomalyScore compares each value with the others of its phase of the season.
var anomalyScore = tableMacro{
	usage:      "anomaly_score((SELECT …), time, value, season => INTERVAL '1 day' [, by => [key, …]])",
	positional: []string{"time", "value", "season"},
	named:      map[string]argument{"time": column, "value": column, "season": duration, "by": columns},
	sql: func(a arguments) (string, error) {
		by := a.lists["by"]
		keys := func(more ...string) string { return commas(append(by[:len(by):len(by)], more...)) }
		on := func(left, right string, more ...string) string {
			return same(left, right, append(by[:len(by):len(by)], more...))
		}
		group := "GROUP BY " + keys()
		if len(by) == 0 {
			group = ""
		}
		of := strings.TrimSuffix(keys("")+" ", " ") // the keys, and a comma if there are any
		return `WITH tw_rows AS (SELECT *, epoch(` + a.text["time"] + `::TIMESTAMP) AS tw_t, ` + a.text["value"] + `::DOUBLE AS tw_v FROM tw_source AS tw_s),
			tw_fit AS (SELECT ` + of + `coalesce(regr_slope(tw_v, tw_t), 0) AS tw_b, coalesce(regr_intercept(tw_v, tw_t), avg(tw_v)) AS tw_a FROM tw_rows ` + group + `),
			tw_trend AS (SELECT tw_rows.*, tw_a + tw_b * tw_t AS tw_l, tw_v - (tw_a + tw_b * tw_t) AS tw_r, fmod(tw_t, epoch(tw_season)) AS tw_p FROM tw_rows JOIN tw_fit ON ` + on("tw_rows", "tw_fit") + `),
			tw_phase AS (SELECT ` + keys("tw_p") + `, median(tw_r) AS tw_m FROM tw_trend GROUP BY ` + keys("tw_p") + `),
			tw_off AS (SELECT tw_trend.*, tw_l + tw_m AS tw_e, tw_r - tw_m AS tw_d FROM tw_trend JOIN tw_phase ON ` + on("tw_trend", "tw_phase", "tw_p") + `),
			tw_scale AS (SELECT ` + of + `1.4826 * mad(tw_d) AS tw_s FROM tw_off ` + group + `)
			SELECT tw_off.* EXCLUDE (tw_t, tw_v, tw_l, tw_r, tw_p, tw_e, tw_d), tw_e AS expected,
				CASE WHEN tw_s > 0 THEN tw_d / tw_s WHEN tw_d = 0 THEN 0 WHEN tw_d IS NOT NULL THEN sign(tw_d) * 'inf'::DOUBLE END AS score
			FROM tw_off JOIN tw_scale ON ` + on("tw_off", "tw_scale"), nil
	},
}

// maxSteps bounds the steps of a funnel, each of which is a join.
const maxSteps = 8

// funnel counts users who took the steps in their order.
var funnel = tableMacro{
	usage:      "funnel((SELECT user, time, step …), within => INTERVAL '1 day', steps => ['view', 'cart', 'buy'])",
	positional: []string{"within", "steps"},
	named:      map[string]argument{"within": duration, "steps": words},
	sql: func(a arguments) (string, error) {
		steps := a.lists["steps"]
		if len(steps) < 2 || len(steps) > maxSteps {
			return "", fmt.Errorf("steps: from 2 to %d are expected", maxSteps)
		}
		var sb strings.Builder
		fmt.Fprintf(&sb, `WITH tw_rows AS (SELECT tw_u, tw_t::TIMESTAMP AS tw_t, tw_k::VARCHAR AS tw_k FROM (SELECT * FROM tw_source AS tw_s) AS tw_c(tw_u, tw_t, tw_k) WHERE tw_u IS NOT NULL AND tw_t IS NOT NULL),
			tw_1 AS (SELECT tw_u, tw_t AS tw_begin, tw_t FROM tw_rows WHERE tw_k = %s)`, duckdb.Literal(steps[0]))
		for i, step := range steps[1:] {
			fmt.Fprintf(&sb, `,
			tw_%d AS (SELECT tw_l.tw_u, tw_l.tw_begin, tw_r.tw_t FROM tw_%d AS tw_l ASOF JOIN (SELECT tw_u, tw_t FROM tw_rows WHERE tw_k = %s) AS tw_r ON tw_l.tw_u = tw_r.tw_u AND tw_l.tw_t < tw_r.tw_t WHERE tw_r.tw_t <= tw_l.tw_begin + tw_within)`,
				i+2, i+1, duckdb.Literal(step))
		}
		sb.WriteString(",\ntw_counts AS (")
		for i, step := range steps {
			if i > 0 {
				sb.WriteString(" UNION ALL ")
			}
			fmt.Fprintf(&sb, `SELECT %d AS step, %s AS name, (count(DISTINCT tw_u))::BIGINT AS users FROM tw_%d`, i+1, duckdb.Literal(step), i+1)
		}
		sb.WriteString(`)
			SELECT step, name, users, users / nullif(first_value(users) OVER (ORDER BY step), 0) AS of_first,
				CASE WHEN step = 1 THEN users / nullif(users, 0) ELSE users / nullif(lag(users) OVER (ORDER BY step), 0) END AS of_previous FROM tw_counts ORDER BY step`)
		return sb.String(), nil
	},
}

// maxPeriods bounds the columns, so to speak, of a retention table.
const maxPeriods = 400

// retention counts the users of each cohort who came back.
var retention = tableMacro{
	usage:      "retention((SELECT user, time …), INTERVAL '1 week' [, periods => 8])",
	positional: []string{"period"},
	named:      map[string]argument{"period": duration, "periods": count},
	sql: func(a arguments) (string, error) {
		periods := a.text["periods"]
		if periods == "" {
			periods = "8"
		}
		if len(periods) > 3 || periods > "400" && len(periods) == 3 {
			return "", fmt.Errorf("periods: at most %d are expected", maxPeriods)
		}
		return `WITH tw_rows AS (SELECT DISTINCT tw_u, time_bucket(tw_period, tw_t::TIMESTAMP) AS tw_t FROM (SELECT * FROM tw_source AS tw_s) AS tw_c(tw_u, tw_t) WHERE tw_u IS NOT NULL AND tw_t IS NOT NULL),
			tw_first AS (SELECT tw_u, min(tw_t) AS tw_cohort FROM tw_rows GROUP BY tw_u),
			tw_length AS (SELECT (epoch(TIMESTAMP '2000-01-01' + 4800 * tw_period) - epoch(TIMESTAMP '2000-01-01')) / 4800 AS tw_n, (SELECT max(tw_t) FROM tw_rows) AS tw_last),
			tw_active AS (SELECT tw_cohort, (round((epoch(tw_rows.tw_t) - epoch(tw_cohort)) / tw_n))::INTEGER AS tw_k, count(*) AS tw_c FROM tw_rows JOIN tw_first ON tw_rows.tw_u = tw_first.tw_u CROSS JOIN tw_length GROUP BY ALL),
			tw_cohorts AS (SELECT tw_cohort, count(*) AS tw_c FROM tw_first GROUP BY tw_cohort),
			tw_cells AS (SELECT tw_cohort, tw_c, tw_i.tw_k FROM tw_cohorts CROSS JOIN range(` + periods + `) AS tw_i(tw_k) CROSS JOIN tw_length WHERE tw_cohort + tw_i.tw_k * tw_period <= tw_last)
			SELECT tw_cells.tw_cohort AS cohort, (tw_cells.tw_c)::BIGINT AS users, (tw_cells.tw_k)::INTEGER AS period, (coalesce(tw_active.tw_c, 0))::BIGINT AS active, coalesce(tw_active.tw_c, 0) / tw_cells.tw_c AS retention
			FROM tw_cells LEFT JOIN tw_active ON tw_cells.tw_cohort = tw_active.tw_cohort AND tw_cells.tw_k = tw_active.tw_k ORDER BY cohort, period`, nil
	},
}

func commas(names []string) string { return strings.Join(names, ", ") }

// same joins on equal columns, NULLs alike; on everything if there are none.
func same(left, right string, names []string) string {
	parts := []string{"true"}
	for _, n := range names {
		parts = append(parts, left+"."+n+" IS NOT DISTINCT FROM "+right+"."+n)
	}
	if len(parts) > 1 {
		parts = parts[1:]
	}
	return strings.Join(parts, " AND ")
}

func renamedFrom(from string, names []string) string {
	var parts []string
	for _, n := range names {
		parts = append(parts, from+"."+n+" AS "+n)
	}
	return strings.Join(parts, ", ")
}

package duckdb

import (
	"strings"
	"testing"
)

// refused are the engine's functions that no list allows, all of them, so that
// a function is either allowed or refused by decision.
var refused = list(
	// Files, network, extensions and anything that runs a text as SQL.
	`glob query query_table read_blob read_csv read_csv_auto read_duckdb read_json read_json_auto read_json_objects
	read_json_objects_auto read_ndjson read_ndjson_auto read_ndjson_objects read_parquet read_text parquet_bloom_probe
	parquet_file_metadata parquet_full_metadata parquet_kv_metadata parquet_metadata parquet_scan parquet_schema
	sniff_csv json_execute_serialized_sql json_deserialize_sql json_serialize_plan json_serialize_sql
	sql_auto_complete which_secret check_peg_parser`,
	// Memory of the process, and rows of any number.
	`arrow_scan arrow_scan_dumb tw_scan tw_within seq_scan repeat_row test_all_types test_vector_types`,
	// Settings, logs, transactions, sessions.
	`checkpoint force_checkpoint disable_logging disable_peg_parser disable_profiling enable_logging
	enable_peg_parser enable_profiling truncate_duckdb_logs write_log parse_duckdb_log_message current_setting
	getvariable setseed current_connection_id current_query current_query_id current_transaction_id txid_current
	in_search_path current_catalog current_database current_role current_schema current_schemas current_user
	session_user user nextval currval error sleep_ms stats`,
	// Catalog.
	`duckdb_* pragma_* pg_* icu_calendar_names has_* inet_* col_description obj_description shobj_description
	format_pg_type format_type map_to_pg_oid get_block_size summary`,
	// Aggregates whose name is data, and sampling.
	`list_aggr list_aggregate array_aggr array_aggregate aggregate
	reservoir_quantile`,
	// The engine's own tools, and types that tables here cannot hold.
	`__internal_* alias can_cast_implicitly cast_to_type combine finalize constant_or_null create_sort_key enum_*
	get_type make_type icu_collate_* remap_struct replace_type st_* timetz_byte_comparable variant_* vector_type
	json_each json_tree histogram_values`,
)

func isRefused(name string) bool {
	for r := range refused {
		if prefix, ok := strings.CutSuffix(r, "*"); name == r || ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func isAllowed(name string) bool {
	return ScalarAllowed(name) || AggregateAllowed(name) || WindowAllowed(name) || TableFunctionAllowed(name)
}

func TestEveryFunctionOfTheEngineIsDecidedOn(t *testing.T) {
	c := open(t, Options{})
	r, err := c.Collect(t.Context(), "SELECT DISTINCT lower(function_name) AS f FROM duckdb_functions() WHERE function_type <> 'pragma' ORDER BY f")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for i := range r.Len() {
		name := r.Value(i, 0).(string)
		known[name] = true
		if isAllowed(name) && isRefused(name) {
			t.Errorf("%s is both allowed and refused", name)
		}
		if !isAllowed(name) && !isRefused(name) {
			t.Errorf("%s is new: allow it or refuse it", name)
		}
	}
	for _, l := range []map[string]bool{deterministic, volatile, aggregates, windowOnly, tableFunctions} {
		for name := range l {
			if !known[name] {
				t.Errorf("%s is allowed, and the engine has no such function", name)
			}
		}
	}
}

func TestListsAreWhatTheirNamesSay(t *testing.T) {
	for name := range deterministic {
		if has(volatile, name) {
			t.Errorf("%s is deterministic and volatile", name)
		}
	}
	for _, name := range []string{"now", "NOW", "today", "age", "random", "uuid", "current_setting", "nextval", "list_aggregate", "getvariable", "unnest", "error", "current_localtimestamp"} {
		if Deterministic(name) {
			t.Errorf("a view may call %s", name)
		}
	}
	for _, name := range []string{"Lower", "+", "~~", "date_trunc", "time_bucket", "nullif", "struct_pack", "to_hours", "->>"} {
		if !Deterministic(name) || !ScalarAllowed(name) {
			t.Errorf("%s is refused", name)
		}
	}
	for name := range sized {
		if !ScalarAllowed(name) {
			t.Errorf("%s has a size and is not allowed", name)
		}
	}
}

// The engine binds a bare CURRENT_DATE as a function, and the tree does not
// say so: the list of such names must be complete.
func TestColumnReferencesThatCallFunctions(t *testing.T) {
	c := open(t, Options{})
	r, err := c.Collect(t.Context(), `SELECT DISTINCT name FROM (
		SELECT keyword_name AS name FROM duckdb_keywords()
		UNION ALL SELECT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z_]+$'))`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Len() {
		name := r.Value(i, 0).(string)
		tree, err := c.Parse(t.Context(), "SELECT "+name)
		if err != nil {
			continue
		}
		node := Statements(tree)[0].(map[string]any)["node"].(map[string]any)
		item := node["select_list"].([]any)[0].(map[string]any)
		if item["class"] != "COLUMN_REF" {
			continue
		}
		_, err = c.Prepare(t.Context(), "SELECT "+name)
		if _, listed := ColumnFunction(name); listed != (err == nil) {
			t.Errorf("SELECT %s binds: %v, listed: %v", name, err == nil, listed)
		}
	}
}

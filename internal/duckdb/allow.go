package duckdb

import "strings"

// The lists below say which of DuckDB's functions people may call. They were
// made by hand, function by function: DuckDB's own stability labels are no guide
// (age, current_setting and current_localtimestamp are labelled consistent). A
// test compares them with the engine's catalog, so that a new engine's new
// functions are looked at before anyone can call them.
//
// Names are those of the parser's tree, operators included ("a LIKE b" is ~~),
// without regard to case. Macros are listed by their own names.

// ScalarAllowed reports whether SQL that a user sends may call the scalar
// function. Allowed ones read nothing but their arguments, the clock and the random
// generator: no file, setting, catalog or sequence. Those for which
// SizeArgument answers need a bound on that argument.
func ScalarAllowed(name string) bool {
	return has(deterministic, name) || has(volatile, name)
}

// Deterministic reports whether a view may call the scalar function: its result
// depends on its arguments alone, so that replay and both layers get what
// the first time got. CURRENT_DATE and its like are no function calls in the
// tree: see ColumnFunction.
func Deterministic(name string) bool { return has(deterministic, name) }

// AggregateAllowed reports whether SQL that a user sends may call the aggregate.
func AggregateAllowed(name string) bool { return has(aggregates, name) }

// WindowAllowed reports whether SQL that a user sends may call the function
// with OVER: an aggregate, or one that exists with OVER alone.
func WindowAllowed(name string) bool { return has(aggregates, name) || has(windowOnly, name) }

// TableFunctionAllowed reports whether SQL that a user sends may call the
// function in FROM.
func TableFunctionAllowed(name string) bool { return has(tableFunctions, name) }

// SizeArgument tells which argument of an allowed function, from 0, sets the
// size of its result; -1 means that all of them do together. The engine
// allocates the result outside its memory limit, so whoever takes SQL from
// people bounds the argument, or refuses all but small literals.
func SizeArgument(name string) (argument int, ok bool) {
	argument, ok = sized[strings.ToLower(name)]
	return argument, ok
}

// ColumnFunction tells which function DuckDB calls for a column reference of one
// name when there is no such column, as in SELECT CURRENT_DATE. All of them
// read the clock or the session: whoever allows a column reference asks here
// first, or resolves it against the columns that there are.
func ColumnFunction(column string) (function string, ok bool) {
	function, ok = columnFunctions[strings.ToLower(column)]
	return function, ok
}

func has(list map[string]bool, name string) bool { return list[strings.ToLower(name)] }

func list(names ...string) map[string]bool {
	l := map[string]bool{}
	for _, text := range names {
		for _, name := range strings.Fields(text) {
			l[name] = true
		}
	}
	return l
}

// deterministic are scalar functions of their arguments. Left out although
// they are: list_aggregate and its aliases (the aggregate's name is data, and
// one of them samples at random). hash is in: its values are in
// EngineFingerprint.
var deterministic = list(
	// Operators.
	`!__postfix !~~ !~~* % & && * ** + - ->> / // <-> << <=> <@ >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~`,
	`add subtract multiply divide mod xor`,
	// Numbers.
	`abs acos acosh asin asinh atan atan2 atanh cbrt ceil ceiling cos cosh cot degrees even exp factorial
	fdiv floor fmod gamma gcd greatest_common_divisor isfinite isinf isnan lcm least_common_multiple lgamma
	ln log log10 log2 nextafter pi pow power radians round round_even roundbankers sign signbit sin sinh sqrt
	tan tanh trunc bit_count bit_length bit_position get_bit set_bit equi_width_bins is_histogram_other_bin`,
	// Any type.
	`greatest least nullif hash typeof switch`,
	// Text and bytes.
	`array_to_string array_to_string_comma_default ascii bar base64 bin bitstring char_length character_length chr concat
	concat_ws contains damerau_levenshtein decode editdist3 encode ends_with format format_bytes formatreadabledecimalsize
	formatreadablesize from_base64 from_binary from_hex hamming hex icu_sort_key ilike_escape instr jaccard
	jaro_similarity jaro_winkler_similarity lcase left left_grapheme length length_grapheme levenshtein like_escape
	lower lpad ltrim md5 md5_number md5_number_lower md5_number_upper mismatches nfc_normalize not_ilike_escape
	not_like_escape octet_length ord parse_dirname parse_dirpath parse_filename parse_formatted_bytes parse_path
	position prefix printf regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches
	regexp_replace regexp_split_to_array repeat replace reverse right right_grapheme rpad rtrim sha1 sha256 split
	split_part starts_with str_split str_split_regex string_split string_split_regex string_to_array strip_accents
	strlen strpos substr substring substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim ucase
	unbin unhex unicode upper url_decode url_encode uuid_extract_timestamp uuid_extract_version`,
	// Dates and times. The session's zone is UTC everywhere.
	`century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname
	dayofmonth dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear
	julian last_day make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz
	microsecond millennium millisecond minute month monthname nanosecond normalized_interval quarter second
	strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours
	to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks
	to_years try_strptime week weekday weekofyear year yearweek`,
	// JSON.
	`array_to_json from_json from_json_strict json json_array json_array_length json_contains json_exists
	json_extract json_extract_path json_extract_path_text json_extract_string json_keys json_merge_patch json_object
	json_pretty json_quote json_structure json_transform json_transform_strict json_type json_valid json_value
	row_to_json to_json`,
	// Lists, arrays, structs, maps and unions.
	`apply array_append array_apply array_cat array_concat array_contains array_cosine_distance
	array_cosine_similarity array_cross_product array_distance array_distinct array_dot_product array_extract
	array_filter array_grade_up array_has array_has_all array_has_any array_indexof array_inner_product
	array_intersect array_length array_negative_dot_product array_negative_inner_product array_pop_back
	array_pop_front array_position array_prepend array_push_back array_push_front array_reduce array_resize array_reverse
	array_reverse_sort array_select array_slice array_sort array_transform array_unique array_value array_where
	array_zip cardinality element_at filter flatten generate_series grade_up len list_any_value list_append
	list_apply list_approx_count_distinct list_avg list_bit_and list_bit_or list_bit_xor list_bool_and list_bool_or
	list_cat list_concat list_contains list_cosine_distance list_cosine_similarity list_count list_distance
	list_distinct list_dot_product list_element list_entropy list_extract list_filter list_first list_grade_up
	list_has list_has_all list_has_any list_histogram list_indexof list_inner_product list_intersect list_kurtosis
	list_kurtosis_pop list_last list_mad list_max list_median list_min list_mode list_negative_dot_product
	list_negative_inner_product list_pack list_position list_prepend list_product list_reduce list_resize list_reverse
	list_reverse_sort list_select list_sem list_skewness list_slice list_sort list_stddev_pop list_stddev_samp
	list_string_agg list_sum list_transform list_unique list_value list_var_pop list_var_samp list_where list_zip
	map map_concat map_contains map_contains_entry map_contains_value map_entries map_extract map_extract_value
	map_from_entries map_keys map_values range reduce row struct_concat struct_contains struct_extract
	struct_extract_at struct_has struct_indexof struct_insert struct_keys struct_pack struct_position struct_update
	struct_values union_extract union_tag union_value unpivot_list`,
)

// volatile are allowed in queries alone: the clock, the random generator, and
// what makes rows out of a value.
var volatile = list(
	`age ago current_date current_localtime current_localtimestamp get_current_time get_current_timestamp now today
	transaction_timestamp random gen_random_uuid uuid uuidv4 uuidv7 version unnest generate_subscripts
	regexp_split_to_table`,
)

// aggregates leaves out reservoir_quantile, which samples at random.
var aggregates = list(
	`any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_max_nulls_last
	arg_min arg_min_null arg_min_nulls_last argmax argmin array_agg avg bit_and bit_or bit_xor bitstring_agg
	bool_and bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum geomean
	geometric_mean group_concat histogram histogram_exact json_group_array json_group_object json_group_structure
	kahan_sum kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by mode product quantile
	quantile_cont quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
	regr_syy sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan var_pop var_samp
	variance wavg weighted_avg`,
)

// windowOnly exist with OVER alone.
var windowOnly = list(
	`cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number`,
)

var tableFunctions = list(`range generate_series unnest`)

// sized was found by trying: each made 200 MB or more under a limit of 60 MB. The
// pattern of format and printf holds widths.
var sized = map[string]int{
	"repeat": 1, "lpad": 1, "rpad": 1, "bitstring": 1, "list_resize": 1, "array_resize": 1,
	"format": 0, "printf": 0, "range": -1, "generate_series": -1,
}

var columnFunctions = map[string]string{
	"current_catalog": "current_catalog", "current_date": "current_date", "current_role": "current_role",
	"current_schema": "current_schema", "current_time": "get_current_time", "current_timestamp": "get_current_timestamp",
	"current_user": "current_user", "localtime": "current_localtime", "localtimestamp": "current_localtimestamp",
	"session_user": "session_user", "user": "user",
}

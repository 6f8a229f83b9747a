package postgres

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A setting is one that sessions have. What nobody depends on is accepted with
// any value and kept, so that SHOW says what SET said.
type setting struct {
	name  string // as SHOW writes it
	value string // at start; "" is filled in by newSettings for some
	fixed bool   // of the server: it cannot be set
	// check gives the value as it is kept, or why it is none; nil takes all.
	check func(value string) (string, error)
	help  string
}

// known are all settings. Those that change what a query means can have one
// value alone: the one that holds.
var known = []setting{
	{name: "application_name", help: "Name of the client"},
	{name: "array_nulls", value: "on"},
	{name: "backslash_quote", value: "safe_encoding"},
	{name: "bytea_output", value: "hex", check: only("hex"), help: "Format of bytea"},
	{name: "client_encoding", value: "UTF8", check: encoding, help: "Encoding of the client"},
	{name: "client_min_messages", value: "notice", help: "Least level that is sent to the client"},
	{name: "DateStyle", value: "ISO, MDY", check: dateStyle, help: "Format of dates"},
	{name: "default_table_access_method", value: "heap"},
	{name: "default_tablespace"},
	{name: "default_transaction_isolation", value: "repeatable read"},
	{name: "default_transaction_read_only", value: "on", check: readOnly},
	{name: "default_transaction_deferrable", value: "off"},
	{name: "escape_string_warning", value: "on"},
	{name: "extra_float_digits", value: "1"},
	{name: "idle_session_timeout", value: "0"},
	{name: "idle_in_transaction_session_timeout", value: "0"},
	{name: "in_hot_standby", value: "on", fixed: true},
	{name: "integer_datetimes", value: "on", fixed: true},
	{name: "IntervalStyle", value: "postgres"},
	{name: "is_superuser", value: "off", fixed: true},
	{name: "jit", value: "off"},
	{name: "lc_collate", value: "C", fixed: true},
	{name: "lc_ctype", value: "C", fixed: true},
	{name: "lc_messages", value: "C"},
	{name: "lc_monetary", value: "C"},
	{name: "lc_numeric", value: "C"},
	{name: "lc_time", value: "C"},
	{name: "lock_timeout", value: "0"},
	{name: "max_connections", fixed: true},
	{name: "max_identifier_length", value: "63", fixed: true},
	{name: "max_index_keys", value: "32", fixed: true},
	{name: "password_encryption", value: "scram-sha-256"},
	{name: "plan_cache_mode", value: "auto"},
	{name: "quote_all_identifiers", value: "off"},
	{name: "row_security", value: "off"},
	{name: "search_path", value: `"$user", public`},
	{name: "server_encoding", value: "UTF8", fixed: true},
	{name: "server_version", value: Version, fixed: true},
	{name: "server_version_num", value: "150000", fixed: true},
	{name: "session_authorization", fixed: true},
	{name: "ssl", fixed: true},
	{name: "standard_conforming_strings", value: "on", check: only("on"), help: "Backslashes are plain characters"},
	{name: "statement_timeout", value: "0", check: milliseconds, help: "Time limit of a statement"},
	{name: "synchronous_commit", value: "on"},
	{name: "TimeZone", value: "UTC", check: utc, help: "Time zone"},
	{name: "transaction_deferrable", value: "off"},
	{name: "transaction_isolation", value: "repeatable read"},
	{name: "transaction_read_only", value: "on", check: readOnly},
	{name: "work_mem", value: "4MB"},
}

// reported are told to the client at start, and when they change.
var reported = []string{
	"application_name", "client_encoding", "DateStyle", "default_transaction_read_only", "in_hot_standby", "integer_datetimes", "IntervalStyle",
	"is_superuser", "server_encoding", "server_version", "session_authorization", "standard_conforming_strings", "TimeZone",
}

// settings are those of one session.
type settings struct {
	values  map[string]string // by lower-case name
	initial map[string]string
	limit   time.Duration // of the server
}

var settingByName = func() map[string]setting {
	m := map[string]setting{}
	for _, s := range known {
		m[strings.ToLower(s.name)] = s
	}
	return m
}()

// newSettings takes what the start-up packet asks for.
func newSettings(options map[string]string, user string, limit time.Duration) (*settings, *wireError) {
	s := &settings{values: map[string]string{}, limit: limit}
	for name, k := range settingByName {
		s.values[name] = k.value
	}
	s.values["session_authorization"] = user
	given := maps.Clone(options)
	for _, o := range startOption.FindAllStringSubmatch(options["options"], -1) {
		given[o[1]] = strings.ReplaceAll(o[2], `\ `, " ")
	}
	for name, value := range given {
		switch {
		case slices.Contains([]string{"user", "database", "options", "replication"}, name), strings.HasPrefix(name, "_pq_."):
			if name == "replication" && value != "false" && value != "off" && value != "0" {
				return nil, &wireError{fatal: true, code: codeUnsupported, message: "replication is not supported"}
			}
			continue
		}
		if strings.EqualFold(name, "timezone") {
			continue // drivers send the zone of their machine unasked; they are told that it is UTC
		}
		if err := s.set(name, value); err != nil {
			err.fatal = true
			return nil, err
		}
	}
	s.initial = maps.Clone(s.values)
	return s, nil
}

// startOption finds -c name=value, or --name=value, in the option "options".
var startOption = regexp.MustCompile(`(?:-c\s*|--)([A-Za-z_.]+)=((?:\\.|[^\s\\])*)`)

func (s *settings) get(name string) (string, bool) {
	v, ok := s.values[strings.ToLower(name)]
	return v, ok
}

func unknownSetting(name string) *wireError {
	return &wireError{code: codeUnknownSetting, message: fmt.Sprintf("unrecognized configuration parameter %q", name)}
}

// valid gives a value as it is kept. Names with a point are the client's own.
func (s *settings) valid(name, value string) (string, *wireError) {
	k, ok := settingByName[strings.ToLower(name)]
	switch {
	case !ok && strings.Contains(name, "."):
	case !ok:
		return "", unknownSetting(name)
	case k.fixed:
		return "", &wireError{code: codeFixedSetting, message: fmt.Sprintf("parameter %q cannot be changed", k.name)}
	case k.check != nil:
		kept, err := k.check(value)
		if err != nil {
			return "", &wireError{code: codeInvalidParameter, message: fmt.Sprintf("invalid value for parameter %q: %q", k.name, value), hint: err.Error()}
		}
		value = kept
	}
	return value, nil
}

// set gives a setting its value.
func (s *settings) set(name, value string) *wireError {
	low := strings.ToLower(name)
	value, err := s.valid(name, value)
	if err != nil {
		return err
	}
	if len(s.values) > len(known)+100 || len(value) > 8<<10 {
		return &wireError{code: codeTooLarge, message: "too many settings, or too long a value"}
	}
	s.values[low] = value
	return nil
}

// reset gives a setting, or with "all" every one, the value it began with.
func (s *settings) reset(name string) *wireError {
	low := strings.ToLower(name)
	if low == "all" {
		s.values = maps.Clone(s.initial)
		return nil
	}
	v, ok := s.initial[low]
	if !ok {
		if strings.Contains(low, ".") {
			delete(s.values, low)
			return nil
		}
		return unknownSetting(name)
	}
	s.values[low] = v
	return nil
}

// timeout is the limit of a statement: statement_timeout, or the server's if
// that is shorter.
func (s *settings) timeout() time.Duration {
	n, _ := strconv.Atoi(s.values["statement_timeout"])
	if d := time.Duration(n) * time.Millisecond; d > 0 && d < s.limit {
		return d
	}
	return s.limit
}

func only(value string) func(string) (string, error) {
	return func(v string) (string, error) {
		if !strings.EqualFold(v, value) {
			return "", fmt.Errorf("here it is always %s", value)
		}
		return value, nil
	}
}

func readOnly(v string) (string, error) {
	switch strings.ToLower(v) {
	case "on", "true", "yes", "1":
		return "on", nil
	}
	return "", fmt.Errorf("this server is read-only")
}

func encoding(v string) (string, error) {
	if plain := strings.ToUpper(strings.NewReplacer("-", "", "_", "", "'", "").Replace(v)); plain != "UTF8" && plain != "UNICODE" {
		return "", fmt.Errorf("text is UTF8 here")
	}
	return "UTF8", nil
}

func dateStyle(v string) (string, error) {
	order := "MDY"
	for _, part := range strings.Split(strings.ToUpper(v), ",") {
		switch part = strings.TrimSpace(part); part {
		case "ISO":
		case "MDY", "DMY", "YMD":
			order = part
		default:
			return "", fmt.Errorf("dates are written as ISO 8601 here")
		}
	}
	return "ISO, " + order, nil
}

// utc takes the names of UTC. Times have no other zone here, and a session that
// believed otherwise would read them wrongly.
func utc(v string) (string, error) {
	switch strings.ToUpper(strings.Trim(v, "'")) {
	case "UTC", "GMT", "ETC/UTC", "ETC/GMT", "Z", "ZULU", "UCT", "UNIVERSAL", "0", "+00", "+00:00", "00:00", "<+00>-00", "DEFAULT", "LOCAL":
		return "UTC", nil
	}
	return "", fmt.Errorf("times are in UTC here: convert them in the client, or with AT TIME ZONE")
}

var duration = regexp.MustCompile(`^\s*(\d+)\s*(us|ms|s|min|h|d|)\s*$`)

// milliseconds reads a time as Postgres writes it, and keeps it in milliseconds.
func milliseconds(v string) (string, error) {
	m := duration.FindStringSubmatch(v)
	if m == nil {
		return "", fmt.Errorf("write a number of milliseconds, or a unit: 500ms, 2s, 1min")
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return "", err
	}
	unit := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	return strconv.FormatInt(int64((time.Duration(n)*unit+time.Millisecond-1)/time.Millisecond), 10), nil
}

// Package config holds the settings of a server: where things run and how much
// they may take. What is computed is not here; that is the project's SQL.
//
// Every setting has one name and three places, in this order of strength: the
// flag --land-age, the environment variable TAILWATER_LAND_AGE, and the key
// land-age of tailwater.yaml in the project's folder. A nested key is joined
// with a dash, so that
//
//	s3:
//	  endpoint: http://127.0.0.1:9000
//
// is the flag --s3-endpoint. Settings is a struct for kong: the flags come from
// its tags, the variables from Variables, and the file from File, a
// kong.Resolver that refuses what it does not know.
package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/robfig/cron/v3"
)

// FileName is the settings file in a project's folder.
const FileName = "tailwater.yaml"

// EnvPrefix begins the name of every environment variable.
const EnvPrefix = "TAILWATER_"

// Variables is the kong.Option that gives every flag of Settings, in whatever
// command it is embedded, its environment variable. (kong.DefaultEnvars would
// call the region TAILWATER_S_3_REGION.)
func Variables() kong.Option {
	known := Names()
	return kong.PostBuild(func(k *kong.Kong) error {
		return kong.Visit(k.Model, func(n kong.Visitable, next kong.Next) error {
			if flag, ok := n.(*kong.Flag); ok && known[flag.Name] {
				flag.Tag.Envs = []string{EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))}
				flag.Envs = flag.Tag.Envs
			}
			return next(nil)
		})
	})
}

// Embedded is the value of Settings.NATS that runs the log in the server itself.
const Embedded = "embedded"

// Off is the value of Settings.BatchSchedule and CheckSchedule that leaves batch runs
// and checks to demand.
const Off = "off"

// AuthKeys is the value of Settings.Auth with which every request shows a key.
const AuthKeys = "keys"

// Settings are the settings of a server. The zero value is not useful: take
// them from Load, or embed the struct in a kong command and call Complete.
// Why a default has its number stands beside it.
type Settings struct {
	Data string `help:"Directory of the log, the lake's default place, the warehouse and the cache. Default: data in the project's folder; tailwater-demo for the demo." placeholder:"DIR" relative:"project" group:"Places"`
	HTTP string `name:"http" help:"Address that HTTP listens on." default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"Places"`
	// Off: a port is opened by who needs it. Postgres' own, 5432, is often taken.
	Postgres string `help:"Address that Postgres clients connect to (psql, JDBC, dashboards), such as 127.0.0.1:5433; off by default." placeholder:"HOST:PORT" group:"Places"`
	Lake     string `help:"Where the lake's Delta tables are: a directory or s3://bucket/prefix. Default: lake in the data directory." placeholder:"PLACE" relative:"project" group:"Places"`
	S3       S3     `embed:"" prefix:"s3-" group:"Places"`

	Auth         string `help:"Who may ask: off for everybody who reaches the address, keys for those who show a key." enum:"off,keys" default:"off" group:"Access"`
	AdminKeyFile string `help:"File that holds the first key, which may everything; TAILWATER_ADMIN_KEY holds the key itself." placeholder:"FILE" relative:"project" group:"Access"`
	// AdminKey is no flag: an argument is seen by everybody on the machine.
	AdminKey       string `kong:"-"`
	TLSCert        string `name:"tls-cert" help:"File with the certificate and its chain, in PEM: the server speaks TLS. It is read again when it changes." placeholder:"FILE" relative:"project" group:"Access"`
	TLSKey         string `name:"tls-key" help:"File with the certificate's key, in PEM." placeholder:"FILE" relative:"project" group:"Access"`
	InsecureListen bool   `help:"Listen beyond this machine without authentication: something else keeps strangers out." negatable:"" group:"Access"`
	HTTPHosts      string `name:"http-hosts" help:"Further names of the server, with commas, under which browsers may ask it while auth is off." placeholder:"NAMES" group:"Access"`
	AuditLog       string `help:"File of the audit log, or off. Default: audit.log in the data directory, if auth is on." placeholder:"FILE" relative:"project" group:"Access"`

	// A NATS server outside keeps the log when several machines share it.
	NATS    string `name:"nats" help:"The log: embedded, or the URL of a JetStream server." default:"embedded" placeholder:"URL" group:"Log"`
	NATSDir string `name:"nats-dir" help:"Directory of the embedded log. Default: log in the data directory." placeholder:"DIR" relative:"project" group:"Log"`
	// 10 GB is three hours at 3,000 events a second of 300 B: longer than a
	// lake is usually away, smaller than the disk of a small machine.
	LogMaxBytes Size `help:"Size at which the log refuses events (503) until they have landed." default:"10GB" placeholder:"SIZE" group:"Log"`

	// Files of 64 MB in memory become about 10 MB of Parquet: enough that a
	// scan is not ruled by requests, small enough to build in memory.
	LandBytes Size `help:"Land a stream when this much of it is waiting." default:"64MB" placeholder:"SIZE" group:"Lake"`
	// 30 s bounds both what a restart replays and the number of commits (2,880 a day).
	LandAge time.Duration `help:"Land a stream when its oldest waiting event is this old." default:"30s" placeholder:"DURATION" group:"Lake"`

	// Every minute is the finest that cron can say; a run without news costs milliseconds.
	BatchSchedule string `help:"When batch runs start: five cron fields (UTC), @every 30s, or off." default:"* * * * *" placeholder:"CRON" group:"Batch"`

	// An hour: a check reads every event of the view's stream, and a difference is a
	// fault that has been there for a while.
	CheckSchedule string `help:"When all views are compared with their SQL over the raw events, one after the other: as batch-schedule, or off." default:"@every 1h" placeholder:"CRON" group:"Batch"`

	// 1 GB lets a small machine run; aggregation spills to the data directory beyond it.
	WarehouseMemory Size `help:"Memory of the warehouse engine, for batch runs and queries together." default:"1GB" placeholder:"SIZE" group:"Engines"`
	// One thread keeps the other cores for ingest and speed: a batch run takes
	// half as long again, and freshness under load stays in milliseconds.
	WarehouseThreads int `help:"Threads of the warehouse engine." default:"1" placeholder:"N" group:"Engines"`
	// A micro-batch is at most a few MB; the rest is room for many groups.
	SpeedMemory Size `help:"Memory of the speed layer's engine." default:"512MB" placeholder:"SIZE" group:"Engines"`
	// The engines' limits cover their buffers; some aggregates hold values beside them.
	MaxMemory Size `help:"Memory of the whole process beyond which the query that runs longest is stopped; 0B: three quarters of the container's or the machine's." default:"0B" placeholder:"SIZE" group:"Engines"`

	// 32 MB is 100,000 events of 300 B, far beyond the size at which larger requests gain anything.
	MaxBody          Size          `help:"Largest request body." default:"32MB" placeholder:"SIZE" group:"Queries"`
	QueryTimeout     time.Duration `help:"Time limit of a query." default:"30s" placeholder:"DURATION" group:"Queries"`
	QueryMaxRows     int           `help:"Most rows that a query answers." default:"1000000" placeholder:"N" group:"Queries"`
	QueryMemory      Size          `help:"Memory of the warehouse engine that the queries of one key may hold together; without keys, all queries. 0B: up to the engine's." default:"0B" placeholder:"SIZE" group:"Queries"`
	QueryConcurrency int           `help:"Queries that run at once; more wait." default:"8" placeholder:"N" group:"Queries"`
	// 100 is Postgres' own default: pools of a few dashboards.
	PostgresConnections int `help:"Postgres clients that are connected at once." default:"100" placeholder:"N" group:"Queries"`

	LogFormat string `help:"Format of the server's log: ${enum}." enum:"text,json" default:"text" group:"Logging"`
	LogLevel  string `help:"Least level that is logged: ${enum}." enum:"debug,info,warn,error" default:"info" group:"Logging"`
}

// S3 says how to reach the object store when Settings.Lake is an s3:// URL.
type S3 struct {
	Endpoint      string `help:"URL of the S3 server." placeholder:"URL" default:"https://s3.amazonaws.com"`
	Region        string `help:"Region of the bucket." placeholder:"NAME" default:"us-east-1"`
	AccessKey     string `help:"Access key." placeholder:"KEY"`
	AccessKeyFile string `help:"File that holds the access key." placeholder:"FILE" relative:"project"`
	SecretKey     string `help:"Secret key." placeholder:"KEY"`
	SecretKeyFile string `help:"File that holds the secret key." placeholder:"FILE" relative:"project"`
	Insecure      bool   `help:"Speak HTTP, not HTTPS, when the endpoint names no scheme." negatable:""`
}

// Load gives the settings of the project in dir, without any flag: from the
// environment and the settings file, completed. A missing file is an empty one.
func Load(dir string) (Settings, error) {
	var s Settings
	file, err := Open(dir)
	if err != nil {
		return s, err
	}
	parser, err := kong.New(&s, kong.Name("tailwater"), Variables(), kong.Resolvers(file),
		kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	if _, err := parser.Parse(nil); err != nil {
		return s, unwrapParse(err)
	}
	err = s.Complete(dir)
	return s, err
}

// unwrapParse takes kong's wrapper off, which carries nothing but an exit code.
func unwrapParse(err error) error {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		return errors.New(parse.Error())
	}
	return err
}

// Complete fills in the places that depend on the project's folder and reads
// the secrets that are in files. Then it validates. It is idempotent.
func (s *Settings) Complete(dir string) error {
	if s.Data == "" {
		s.Data = filepath.Join(dir, "data")
	}
	if s.Lake == "" {
		s.Lake = filepath.Join(s.Data, "lake")
	}
	if s.NATSDir == "" {
		s.NATSDir = filepath.Join(s.Data, "log")
	}
	if s.AuditLog == "" {
		s.AuditLog = filepath.Join(s.Data, "audit.log")
	}
	if s.AdminKey == "" {
		s.AdminKey = os.Getenv(EnvPrefix + "ADMIN_KEY")
	}
	err := errors.Join(
		readSecret("admin-key", &s.AdminKey, s.AdminKeyFile),
		readSecret("s3-access-key", &s.S3.AccessKey, s.S3.AccessKeyFile),
		readSecret("s3-secret-key", &s.S3.SecretKey, s.S3.SecretKeyFile),
	)
	if err != nil {
		return err
	}
	return s.Validate()
}

func readSecret(name string, value *string, file string) error {
	if file == "" || *value != "" {
		return nil // a value beats a file
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s-file: %w", name, err)
	}
	if *value = strings.TrimSpace(string(text)); *value == "" {
		return fmt.Errorf("%s-file: %s is empty; write the key into it", name, file)
	}
	return nil
}

// Validate checks what a single value's syntax cannot, and reports everything
// that is wrong, each with the setting's name.
func (s *Settings) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
	}
	if _, _, err := net.SplitHostPort(s.HTTP); err != nil {
		bad("http", "%q is not HOST:PORT, such as 127.0.0.1:8080 or :8080", s.HTTP)
	}
	if s.Postgres != "" && s.Postgres != Off {
		if _, _, err := net.SplitHostPort(s.Postgres); err != nil {
			bad("postgres", "%q is not HOST:PORT, such as 127.0.0.1:5433, or off", s.Postgres)
		}
	}
	if err := checkNATS(s.NATS); err != nil {
		bad("nats", "%w", err)
	}
	if _, _, err := Schedule(s.BatchSchedule); err != nil {
		bad("batch-schedule", "%w", err)
	}
	if _, _, err := Schedule(s.CheckSchedule); err != nil {
		bad("check-schedule", "%w", err)
	}
	s.validateAccess(bad)
	s.validateLake(bad)
	s.validateSizes(bad)
	return errors.Join(errs...)
}

func (s *Settings) validateAccess(bad func(name, format string, args ...any)) {
	host, _, err := net.SplitHostPort(s.HTTP)
	if err == nil && s.Auth != AuthKeys && !s.InsecureListen && !loopback(host) {
		bad("http", "%q can be reached from other machines, and authentication is off: everybody there could read and write everything; add --auth keys --admin-key-file FILE, or listen on 127.0.0.1, or say --insecure-listen if something else keeps strangers out", s.HTTP)
	}
	if host, _, err := net.SplitHostPort(s.Postgres); err == nil && s.Auth != AuthKeys && !s.InsecureListen && !loopback(host) {
		bad("postgres", "%q can be reached from other machines, and authentication is off: everybody there could read everything; add --auth keys --admin-key-file FILE, or listen on 127.0.0.1, or say --insecure-listen if something else keeps strangers out", s.Postgres)
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		bad("tls", "tls-cert and tls-key belong together; set both, or neither for HTTP without TLS")
	}
	if s.Auth != AuthKeys && s.AdminKey+s.AdminKeyFile != "" {
		bad("admin-key", "there is an admin key, but authentication is off, so that nobody is asked for it; add --auth keys, or take the key away")
	}
}

// loopback reports whether a listener on host is reached from this machine alone. A
// name other than localhost may lead anywhere.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Hosts gives the names of HTTPHosts.
func (s *Settings) Hosts() []string {
	return strings.FieldsFunc(strings.ToLower(s.HTTPHosts), func(r rune) bool { return r == ',' || r == ' ' })
}

func checkNATS(text string) error {
	if text == Embedded {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && u.Host != "" {
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
			return nil
		}
	}
	return fmt.Errorf("%q is neither embedded nor a URL such as nats://127.0.0.1:4222", text)
}

func (s *Settings) validateLake(bad func(name, format string, args ...any)) {
	scheme, _, hasScheme := strings.Cut(s.Lake, "://")
	if !hasScheme {
		return
	}
	if scheme != "s3" {
		bad("lake", "%q: only a directory or s3://bucket/prefix can hold the lake; other stores speak S3 too, give their address as s3-endpoint", s.Lake)
		return
	}
	if bucket, _ := s.Bucket(); bucket == "" {
		bad("lake", "%q names no bucket; write s3://bucket/prefix", s.Lake)
	}
	// kong calls Validate before Complete has read the files.
	access, secret := s.S3.AccessKey+s.S3.AccessKeyFile != "", s.S3.SecretKey+s.S3.SecretKeyFile != ""
	if access != secret {
		bad("s3", "access-key and secret-key belong together; set both, or neither for anonymous access")
	}
}

func (s *Settings) validateSizes(bad func(name, format string, args ...any)) {
	least := func(name string, value, least Size, why string) {
		if value < least {
			bad(name, "%s is less than %s, %s", value, least, why)
		}
	}
	least("log-max-bytes", s.LogMaxBytes, 16*MB, "which the log needs to hold a few envelopes")
	least("land-bytes", s.LandBytes, 64*KB, "and the lake would drown in small files")
	least("warehouse-memory", s.WarehouseMemory, 64*MB, "the least with which the engine works")
	least("speed-memory", s.SpeedMemory, 64*MB, "the least with which the engine works")
	least("max-body", s.MaxBody, 1*KB, "and no event would fit")
	if s.QueryMemory != 0 {
		least("query-memory", s.QueryMemory, 16*MB, "with which the engine can do little; 0B is no limit")
	}
	positive := func(name string, ok bool) {
		if !ok {
			bad(name, "must be greater than 0")
		}
	}
	positive("land-age", s.LandAge > 0)
	positive("warehouse-threads", s.WarehouseThreads > 0)
	positive("query-timeout", s.QueryTimeout > 0)
	positive("query-max-rows", s.QueryMaxRows > 0)
	positive("query-concurrency", s.QueryConcurrency > 0)
	positive("postgres-connections", s.PostgresConnections > 0)
	if s.LandBytes > s.LogMaxBytes/2 {
		bad("land-bytes", "%s is more than half of log-max-bytes (%s): the log would be full before it lands", s.LandBytes, s.LogMaxBytes)
	}
}

// Bucket splits an s3:// lake into bucket and prefix (without slashes at its
// ends); both are empty when the lake is a directory.
func (s *Settings) Bucket() (bucket, prefix string) {
	rest, ok := strings.CutPrefix(s.Lake, "s3://")
	if !ok {
		return "", ""
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	return bucket, strings.Trim(prefix, "/")
}

// Schedule parses a schedule: five cron fields in UTC, or a descriptor
// such as "@every 30s" or "@hourly". on is false, and the schedule nil, for "off".
func Schedule(text string) (schedule cron.Schedule, on bool, err error) {
	if text == Off {
		return nil, false, nil
	}
	if strings.Contains(text, "TZ=") {
		return nil, false, fmt.Errorf("%q: schedules are in UTC; leave the time zone out", text)
	}
	schedule, err = cron.ParseStandard(text)
	if err != nil {
		return nil, false, fmt.Errorf("%q is not a schedule (%w); write five cron fields such as \"*/5 * * * *\", \"@every 30s\", or \"off\"", text, err)
	}
	return schedule, true, nil
}

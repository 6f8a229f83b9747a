package serving

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
)

// Config bounds what the handler lets in and out. The zero value means the
// defaults.
type Config struct {
	// Limiter bounds the queries of all listeners together; nil makes one of this
	// handler's own.
	Limiter *Limiter
	// Keys are managed at /v1/keys, for tables that Tables lists; nil where
	// authentication is off.
	Keys   *access.Keys
	Tables func() []string
	// Timeout is a query's limit (30 s, below the 60 s of most proxies) unless
	// the request asks for less or, up to MaxTimeout (5 min), for more.
	Timeout, MaxTimeout time.Duration
	// MaxRows (10 M) and MaxBytes (1 GiB, before compression) bound a response;
	// exceeding one is an error, never a silently shortened result.
	MaxRows, MaxBytes int64
	// MaxBody bounds a request's body, in bytes (128 KiB: a statement of the
	// Gate's 64 KiB with every character escaped).
	MaxBody int64
	// LiveClients is how many may follow live views at once (1024: each costs a
	// connection and a goroutine, and those of one view share the work).
	LiveClients int
	// Queries are those that have a name (BindQueries).
	Queries []NamedQuery
	// Metrics is what /metrics shows, and Register where the handler's own
	// metrics go; either may be nil.
	Metrics  prometheus.Gatherer
	Register prometheus.Registerer
	// Log gets one line for each request that failed; nil discards.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.MaxTimeout = max(cmp.Or(c.MaxTimeout, 5*time.Minute), c.Timeout)
	c.MaxRows = cmp.Or(c.MaxRows, 10_000_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 1<<30)
	c.MaxBody = cmp.Or(c.MaxBody, 128<<10)
	c.LiveClients = cmp.Or(c.LiveClients, 1024)
	if c.Limiter == nil {
		c.Limiter = NewLimiter(LimiterConfig{Register: c.Register})
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// within gives the bounds of an answer that hold for the principal of ctx.
func (c Config) within(ctx context.Context) Config {
	own := access.From(ctx).Within(access.Limits{Time: c.MaxTimeout, Rows: c.MaxRows, Bytes: c.MaxBytes})
	c.Timeout, c.MaxTimeout, c.MaxRows, c.MaxBytes = min(c.Timeout, own.Time), own.Time, own.Rows, own.Bytes
	return c
}

// server holds the handlers.
type server struct {
	q       Queries
	cfg     Config
	mux     *http.ServeMux
	seconds *prometheus.HistogramVec
	clients prometheus.Gauge // of live views
	seats   *Limiter         // for them
	salt    string           // of entity tags
}

// NewHandler serves q over HTTP:
//
//	GET  /v1/views                   the views
//	GET  /v1/views/{view}            rows, filtered, grouped up, filled, paged: viewParameters
//	GET  /v1/views/{view}/live       a snapshot, then what changes: server-sent events
//	GET  /v1/views/{view}/check      the view against its own SQL over the raw events
//	GET  /v1/views/{view}/history    the versions that it has had
//	GET, POST /v1/sql                rows of a statement with values for its parameters
//	GET  /v1/queries                 the project's queries
//	GET, POST /v1/queries/{query}    rows of one
//	GET  /v1/streams[/{stream}]      the streams' columns
//	GET  /v1/status                  how far every layer is
//	POST /v1/batch/run               rebuild
//	GET  /v1/batch/runs              the latest runs
//	POST /v1/apply                   bring the views to what the project's files say
//	GET  /v1/apply                   how far that is
//	GET  /openapi.json               all that, for programs
//	GET  /healthz, /readyz, /metrics
//
// Responses are compressed with zstd or gzip if the client takes it.
func NewHandler(q Queries, cfg Config) http.Handler {
	s := &server{q: q, cfg: cfg.withDefaults(), mux: http.NewServeMux()}
	s.salt = newSalt()
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tailwater_http_request_seconds", Help: "Time to answer a request, by route and status.",
		Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60},
	}, []string{"route", "code"})
	s.clients = prometheus.NewGauge(prometheus.GaugeOpts{Name: "tailwater_live_clients", Help: "Clients that follow a live view."})
	s.seats = NewLimiter(LimiterConfig{Concurrency: s.cfg.LiveClients, Waiting: 1, WaitTime: time.Nanosecond}) // nobody waits for hours
	if s.cfg.Register != nil {
		s.cfg.Register.MustRegister(s.seconds, s.clients)
	}
	for _, r := range s.routes() {
		s.handle(r.pattern, r.handler)
	}
	if s.cfg.Metrics != nil {
		metrics := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{})
		s.handle("GET /metrics", func(w http.ResponseWriter, r *http.Request) error { metrics.ServeHTTP(w, r); return nil })
	}
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(1024), gzhttp.EnableZstd(true))
	if err != nil {
		panic("serving: " + err.Error()) // only for options that contradict each other
	}
	return compress(http.HandlerFunc(s.serve))
}

// A route is a pattern of the mux and who answers it. Each has its entry in
// operations, which a test holds against this table.
type route struct {
	pattern string
	handler handler
}

func (s *server) routes() []route {
	sql, query := s.read(s.parseSQLRequest, s.limited(s.sql)), s.read(s.parseQueryRequest, s.limited(s.sql))
	return append([]route{
		{"GET /v1/views", s.views},
		{"GET /v1/views/{view}", s.limited(s.view)},
		{"GET /v1/views/{view}/live", s.live},
		{"GET /v1/views/{view}/check", s.limited(s.check)},
		{"GET /v1/views/{view}/history", s.history},
		{"GET /v1/sql", sql},
		{"POST /v1/sql", sql},
		{"GET /v1/queries", s.queries},
		{"GET /v1/queries/{query}", query},
		{"POST /v1/queries/{query}", query},
		{"GET /v1/streams", s.streams},
		{"GET /v1/streams/{stream}", s.stream},
		{"GET /v1/status", s.status},
		{"POST /v1/batch/run", s.runBatch},
		{"GET /v1/batch/runs", s.runs},
		{"POST /v1/apply", s.apply},
		{"GET /v1/apply", s.applying},
		{"GET /openapi.json", s.openapi},
		{"GET /healthz", s.healthz},
		{"GET /readyz", s.readyz},
	}, s.keyRoutes()...)
}

func (s *server) views(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	return reply(w)(s.q.Views(r.Context()))
}

// answer sends rows, and gives the State and the transaction back whatever happens.
func (s *server) answer(w http.ResponseWriter, r *http.Request, a *Answer, format int, started time.Time) error {
	if a.Close != nil {
		defer a.Close()
	}
	// A client that doesn't read would hold all that for as long as it likes.
	control := http.NewResponseController(w)
	if deadline, ok := r.Context().Deadline(); ok && control.SetWriteDeadline(deadline.Add(time.Second)) == nil {
		defer control.SetWriteDeadline(time.Time{})
	}
	// Parquet is compressed as it is. Gzip would make Arrow slower than the networks
	// it is used on; a client that has something better says so.
	switch mediaType := formats[format].mediaType; {
	case strings.HasSuffix(mediaType, "parquet"),
		strings.HasSuffix(mediaType, "arrow.stream") && !strings.Contains(r.Header.Get("Accept-Encoding"), "zstd"):
		w.Header().Set(gzhttp.HeaderNoCompression, "yes")
	}
	_, err := send(r.Context(), w, a, format, s.cfg.within(r.Context()), started)
	return err
}

func (s *server) check(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r, "timeout", "max_age", "at"); err != nil {
		return err
	}
	values := r.URL.Query()
	at, err := parseCut(values.Get("at"))
	if err != nil {
		return err
	}
	if at != nil && values.Has("max_age") {
		return badParameter("max_age", "belongs to a check at the newest cut; one with at is always made anew")
	}
	maxAge, err := parseDuration(values, "max_age", 0, 0, time.Hour)
	if err != nil {
		return err
	}
	c, err := s.q.Check(r.Context(), CheckRequest{View: r.PathValue("view"), MaxAge: maxAge, At: at})
	return reply(w)(c, err)
}

// A column of a stream, as /v1/streams shows it.
type streamColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
}

type streamInfo struct {
	Stream     string            `json:"stream"`
	Columns    []streamColumn    `json:"columns"`
	Time       string            `json:"time,omitempty"`        // the event-time column
	TimeFormat string            `json:"time_format,omitempty"` // strptime; absent = ISO 8601
	Formats    map[string]string `json:"formats,omitempty"`     // of the other columns that have one
	ID         string            `json:"id,omitempty"`          // the column that identifies an event
	Lookups    []streamLookup    `json:"lookups,omitempty"`
}

// A column that events get from a reference table as they come in, and the version of
// it that they get it from now.
type streamLookup struct {
	Column    string   `json:"column"`
	Reference string   `json:"reference"`
	Version   string   `json:"version"`
	From      string   `json:"from"` // the table's column
	By        []string `json:"by"`   // columns of the stream
}

func describeStream(s *event.Schema) streamInfo {
	info := streamInfo{Stream: s.Stream, Columns: []streamColumn{}}
	for i, c := range s.Columns {
		info.Columns = append(info.Columns, streamColumn{c.Name, c.Type.String(), c.NotNull})
		format, ok := s.Formats[i]
		switch {
		case i == s.TimeColumn:
			info.Time, info.TimeFormat = c.Name, format
		case ok:
			if info.Formats == nil {
				info.Formats = map[string]string{}
			}
			info.Formats[c.Name] = format
		}
	}
	if s.IDColumn >= 0 {
		info.ID = s.Columns[s.IDColumn].Name
	}
	for _, l := range s.Lookups {
		var by []string
		for _, key := range l.Keys {
			by = append(by, s.Columns[key].Name)
		}
		for i, c := range l.Columns {
			info.Lookups = append(info.Lookups, streamLookup{s.Columns[c].Name, l.Reference, l.Version, l.From[i], by})
		}
	}
	return info
}

// seen gives the streams that the principal of ctx sees.
func (s *server) seen(ctx context.Context) []*event.Schema {
	return slices.DeleteFunc(slices.Clone(s.q.Streams()), func(schema *event.Schema) bool { return !access.From(ctx).Sees(schema.Stream) })
}

func (s *server) streams(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	list := []streamInfo{}
	for _, schema := range s.seen(r.Context()) {
		list = append(list, describeStream(schema))
	}
	return reply(w)(map[string]any{"streams": list}, nil)
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	var names []string
	for _, schema := range s.seen(r.Context()) {
		if schema.Stream == r.PathValue("stream") {
			return reply(w)(describeStream(schema), nil)
		}
		names = append(names, schema.Stream)
	}
	return notFound("stream", r.PathValue("stream"), names)
}

func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	return reply(w)(s.q.Status(r.Context()))
}

func (s *server) runBatch(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r, "rebuild"); err != nil {
		return err
	}
	rebuild, err := parseFlag(r.URL.Query(), "rebuild")
	if err != nil {
		return err
	}
	return reply(w)(s.q.RunBatch(r.Context(), rebuild))
}

func (s *server) runs(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	return reply(w)(s.q.Runs(r.Context()))
}

// healthz says that the process is alive: whoever restarts it on another answer
// must not do so because it is busy recovering.
func (s *server) healthz(w http.ResponseWriter, r *http.Request) error {
	return reply(w)(map[string]any{"alive": true}, nil)
}

// readyz says whether answers are given.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) error {
	if err := s.q.Ready(); err != nil {
		return notReady(err)
	}
	return reply(w)(map[string]any{"ready": true}, nil)
}

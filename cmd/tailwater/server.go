package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/internal/problem"
	"github.com/tailwater/tailwater/lake"
	"github.com/tailwater/tailwater/project"
	"github.com/tailwater/tailwater/serving"
	"github.com/tailwater/tailwater/serving/ui"
	"github.com/tailwater/tailwater/stream"
	"github.com/tailwater/tailwater/view"
)

// drainTime bounds how long a server takes to land what it accepted when it is
// told to stop; what has not landed by then is in the log, and lands at the
// next start.
const drainTime = 60 * time.Second

// A server is a node on a machine's disks and network, behind an HTTP listener.
type server struct {
	node     *node // another after renew
	parts    parts
	settings config.Settings
	changing sync.Mutex // held while the node is replaced, or stopped for good
	gates    gates
	broker   *stream.Broker
	http     *http.Server
	handler  atomic.Pointer[http.Handler] // the node's, once there is one
	addr     net.Addr
	tls      *access.Certificate // nil: no TLS
	audit    *serving.AuditLog   // nil: authentication is off, or nothing is recorded
	postgres *postgresListener   // nil: off
	served   chan error          // the listener's end
	lock     *os.File            // holds the data directory for this process
}

// startServer loads the project, starts everything and listens. It returns as
// soon as requests are taken; /readyz tells when answers are.
func startServer(ctx context.Context, dir string, s config.Settings, logger *slog.Logger) (_ *server, err error) {
	planner, err := view.NewPlanner(ctx)
	if err != nil {
		return nil, err
	}
	defer planner.Close()
	p, err := project.Load(ctx, dir, planner, serving.ComputeReferences)
	if err != nil {
		return nil, err
	}
	queries, problems, err := serving.BindQueries(ctx, p)
	if err == nil && len(problems) > 0 {
		err = problems
	}
	if err != nil {
		return nil, err
	}
	srv := &server{settings: s, served: make(chan error, 1)}
	defer func() {
		if err != nil {
			srv.abort()
		}
	}()
	if srv.lock, err = lockDir(s.Data); err != nil {
		return nil, err
	}
	if s.Auth == config.AuthKeys && s.AuditLog != config.Off {
		if srv.audit, err = serving.OpenAudit(s.AuditLog, logger); err != nil {
			return nil, err
		}
	}
	if err := srv.listen(s, logger); err != nil {
		return nil, err
	}
	if srv.postgres, err = listenPostgres(s, srv.tls, logger); err != nil {
		return nil, err
	}
	pt, err := srv.places(ctx, s, logger)
	if err != nil {
		return nil, err
	}
	pt.progress, pt.renew, pt.failed = srv.starting, srv.renew, make(chan error, 1)
	srv.parts = pt
	if srv.node, err = startNode(ctx, p, pt); err != nil {
		return nil, err
	}
	handler := srv.node.handler(s, queries, srv.auditor(), logger, srv.postgres.metrics()...)
	// First: who sees /readyz say yes may ask at either door.
	if err := srv.openPostgres(ctx, srv.node); err != nil {
		return nil, err
	}
	srv.handle(handler)
	return srv, nil
}

// auditor gives the audit log as listeners take it: nil if there is none.
func (srv *server) auditor() serving.Audit {
	if srv.audit == nil {
		return nil
	}
	return srv.audit
}

// url is where the server is.
func (srv *server) url() string {
	if srv.tls != nil {
		return "https://" + srv.addr.String()
	}
	return "http://" + srv.addr.String()
}

// listen opens the listener. Until there is a node, it says that the process
// lives and what it is doing: a rebuild can take longer than a supervisor waits.
func (srv *server) listen(s config.Settings, logger *slog.Logger) error {
	if s.TLSCert != "" {
		var err error
		if srv.tls, err = access.OpenCertificate(s.TLSCert, s.TLSKey, logger, nil); err != nil {
			return fmt.Errorf("%w; see --tls-cert and --tls-key", err)
		}
	}
	listener, err := net.Listen("tcp", s.HTTP)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --http", err)
	}
	srv.starting("starting")
	srv.addr = listener.Addr()
	srv.http = &http.Server{
		Handler:           http.HandlerFunc(srv.serve),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	if srv.tls != nil {
		srv.http.TLSConfig = srv.tls.TLS()
		go func() { srv.served <- srv.http.ServeTLS(listener, "", "") }()
		return nil
	}
	go func() { srv.served <- srv.http.Serve(listener) }()
	return nil
}

// handle puts the page before h. It is there from the start on: it tells whoever
// looks what start-up is doing.
func (srv *server) handle(h http.Handler) {
	mux := http.NewServeMux()
	page := ui.Handler()
	mux.Handle("GET /{$}", page)
	mux.Handle("GET /assets/", page)
	mux.Handle("/", h)
	var all http.Handler = mux
	srv.handler.Store(&all)
}

// starting answers everything but /healthz and the page with 503 and what start-up
// is doing.
func (srv *server) starting(what string) {
	srv.handle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintln(w, `{"status":"starting"}`)
			return
		}
		problem.Problem{Status: http.StatusServiceUnavailable, Code: "not_ready", Detail: "not ready: " + what, Hint: "ask again, or watch /readyz", RetryAfter: time.Second}.Write(w)
	}))
}

// places turns settings into the parts of a node.
func (srv *server) places(ctx context.Context, s config.Settings, logger *slog.Logger) (parts, error) {
	schedule, _, err := config.Schedule(s.BatchSchedule)
	if err != nil {
		return parts{}, err
	}
	checks, _, err := config.Schedule(s.CheckSchedule)
	if err != nil {
		return parts{}, err
	}
	bucket, err := lake.OpenBucket(ctx, s.Lake, lake.S3Options{
		Endpoint: s.S3.Endpoint, Region: s.S3.Region, AccessKey: s.S3.AccessKey, SecretKey: s.S3.SecretKey, Insecure: s.S3.Insecure,
	})
	if err != nil {
		return parts{}, err
	}
	url := s.NATS
	if url == config.Embedded {
		url = ""
	}
	srv.broker, err = stream.OpenBroker(ctx, stream.BrokerConfig{URL: url, StoreDir: s.NATSDir, Logger: logger})
	if err != nil {
		return parts{}, err
	}
	pt := parts{
		log: func(ctx context.Context, name string) (stream.Log, error) {
			return srv.broker.Log(ctx, name, int64(s.LogMaxBytes))
		},
		bucket: bucket, cacheDir: filepath.Join(s.Data, "cache"), spoolDir: filepath.Join(s.Data, "spool"),
		warehousePath: filepath.Join(s.Data, "warehouse", "warehouse.duckdb"),
		landBytes:     int64(s.LandBytes), landAge: s.LandAge, schedule: schedule, checks: checks,
		warehouseMemory: s.WarehouseMemory.String(), warehouseThreads: s.WarehouseThreads, speedMemory: s.SpeedMemory.String(), maxMemory: int64(s.MaxMemory), queryMemory: int64(s.QueryMemory),
		auth: s.Auth == config.AuthKeys, adminKey: s.AdminKey, logger: logger,
	}
	pt.readDirs = []string{pt.cacheDir, pt.spoolDir}
	if local, ok := bucket.LocalPath(""); ok {
		pt.readDirs = append(pt.readDirs, local)
	}
	return pt, nil
}

// handler puts ingest and serving behind one address, and the guard before both.
func (n *node) handler(s config.Settings, queries []serving.NamedQuery, audit serving.Audit, logger *slog.Logger, more ...prometheus.Collector) http.Handler {
	guard := serving.NewGuard(serving.GuardConfig{Keys: n.keys, Audit: audit, Hosts: s.Hosts(), Log: logger})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(more...)
	metrics.MustRegister(collector{n}, n.core.ParityMetrics(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	targets := map[string]ingest.Target{}
	for _, s := range n.project.Streams {
		pl := n.pipelines[s.Name]
		targets[s.Name] = ingest.Target{Schema: pl.schema, Publisher: pl, Tables: must(lookupTables(s))}
	}
	n.limiter = serving.NewLimiter(serving.LimiterConfig{Concurrency: s.QueryConcurrency, Register: metrics})
	mux := http.NewServeMux()
	events := must(ingest.NewHandler(targets, ingest.Config{Limits: ingest.Limits{BodyBytes: 2 * int(s.MaxBody)}, WireBytes: int(s.MaxBody), Metrics: metrics, Log: logger}))
	mux.Handle("/v1/streams/{stream}/events", guard.Ingest(events))
	mux.Handle("/", serving.NewHandler(n.core, serving.Config{
		Limiter: n.limiter, Timeout: s.QueryTimeout, MaxRows: int64(s.QueryMaxRows), Queries: queries,
		Metrics: metrics, Register: metrics, Log: logger,
		Keys: n.keys, Tables: func() []string { return n.core.Tables(context.Background()) },
	}))
	return guard.Wrap(mux)
}

// must is for construction from values that were validated before.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// stop stops taking requests, lands what was accepted, and closes everything.
func (srv *server) stop(ctx context.Context) error {
	srv.changing.Lock() // no node comes any more
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	srv.node.core.StopLive() // live streams never end by themselves
	err := errors.Join(srv.http.Shutdown(ctx), srv.postgres.stop(ctx))
	return errors.Join(err, srv.node.drain(ctx), srv.broker.Close(), srv.closeAudit(), srv.lock.Close())
}

func (srv *server) closeAudit() error {
	if srv.audit == nil {
		return nil
	}
	return srv.audit.Close()
}

// abort releases what a failed start had opened.
func (srv *server) abort() {
	if srv.http != nil {
		srv.http.Close()
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = srv.postgres.stop(now) // says that it was cut short, as it was told to
	if srv.node != nil {
		srv.node.kill()
	}
	if srv.broker != nil {
		srv.broker.Close()
	}
	_ = srv.closeAudit()
	if srv.lock != nil {
		srv.lock.Close()
	}
}

// lockDir takes the data directory for this process, until the file is closed or
// the process is gone: two servers would write one log.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another server; stop it, or choose another with --data", dir)
	}
	return f, nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/tailwater/tailwater/internal/aside"
	"github.com/tailwater/tailwater/internal/config"
	"github.com/tailwater/tailwater/serving/postgres"
)

// Run serves the project until SIGTERM or SIGINT; then it lands everything that
// was accepted and returns nil. A second signal ends the process at once.
func (c *ServeCmd) Run(ctx context.Context, out *output) error {
	if err := c.Complete(c.Dir); err != nil {
		return err
	}
	idle := func(ctx context.Context, _ *server) error {
		<-ctx.Done()
		return nil
	}
	return runServer(ctx, c.Dir, c.Settings, newLogger(c.Settings, out.err), idle)
}

// runServer serves the project in dir until ctx ends or a signal comes, with a
// client beside it that has the server for as long as it runs: it is told to end
// by its context before the server stops, and if it ends by itself, so does the
// server.
func runServer(ctx context.Context, dir string, s config.Settings, logger *slog.Logger, client func(context.Context, *server) error) error {
	aside.ShareByKernel()
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	srv, err := startServer(ctx, dir, s, logger)
	if err != nil {
		return err
	}
	warnOfExposure(logger, s, srv)
	defer srv.reopenAudit(logger)()
	if srv.postgres != nil {
		logger.Info("serving Postgres clients", "url", "postgres://"+srv.postgres.addr.String()+"/"+postgres.Database)
	}
	logger.Info("serving", "http", srv.url(), "project", dir, "data", s.Data, "lake", s.Lake, "log", s.NATS)
	ended := make(chan error, 1)
	go func() { ended <- client(ctx, srv) }()
	select {
	case err := <-srv.served:
		return fmt.Errorf("http: %w", err)
	case err := <-srv.parts.failed:
		return fmt.Errorf("%w; start again: what was accepted is in the log and the lake", err)
	case err = <-ended:
	case <-ctx.Done():
		err = <-ended
	}
	release()
	signal.Reset(syscall.SIGTERM, syscall.SIGINT)
	logger.Info("stopping: landing what was accepted")
	if err := srv.stop(ctx); err != nil {
		return fmt.Errorf("stop: %w; what has not landed is in the log and lands at the next start", err)
	}
	logger.Info("stopped")
	return err
}

// warnOfExposure says what the operator has chosen, loudly where it is dangerous.
func warnOfExposure(logger *slog.Logger, s config.Settings, srv *server) {
	tcp, ok := srv.addr.(*net.TCPAddr)
	beyond := !ok || !tcp.IP.IsLoopback()
	switch {
	case beyond && s.Auth != config.AuthKeys:
		logger.Warn("INSECURE: authentication is off, and the address can be reached from beyond this machine (--insecure-listen): whoever reaches it can read and write everything", "http", srv.addr.String())
	case beyond && srv.tls == nil:
		logger.Warn("keys travel unencrypted: the address can be reached from beyond this machine and does not speak TLS; add --tls-cert and --tls-key, unless a proxy before it does", "http", srv.addr.String())
	}
}

// reopenAudit opens the audit log's name again at each SIGHUP, until stop.
func (srv *server) reopenAudit(logger *slog.Logger) (stop func()) {
	if srv.audit == nil {
		return func() {}
	}
	hangup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hangup:
				if err := srv.audit.Reopen(); err != nil {
					logger.Error("the audit log stays in its old file", "error", err)
				}
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(hangup); close(done) }
}

// newLogger writes the server's log to w.
func newLogger(s config.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // the setting is an enum of slog's names
	opts := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

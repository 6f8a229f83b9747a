package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A BrokerConfig says where the logs are kept.
type BrokerConfig struct {
	// URL of a NATS server with JetStream, "nats://host:4222", several
	// separated by commas; "" or "embedded" runs the server inside this process.
	URL string
	// StoreDir is the embedded server's directory. One process may use it.
	StoreDir string
	// MaxBytes is what all logs of the embedded server may reserve together.
	// Default 1 TiB: the limit that matters is that of each log.
	MaxBytes int64
	// Replicas of each log on a NATS cluster. Default 1.
	Replicas int
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

func (c *BrokerConfig) setDefaults() {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 1 << 40
	}
	if c.Replicas <= 0 {
		c.Replicas = 1
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// A Broker is a connection to the server that keeps the logs, and the server
// itself when it is embedded.
type Broker struct {
	cfg    BrokerConfig
	server *server.Server // nil when remote
	conn   *nats.Conn
	js     jetstream.JetStream
}

// OpenBroker starts or connects to the server.
//
// The embedded server listens on no port, and syncs every message before it
// acknowledges it. Of a remote server the setting cannot be asked; a warning
// says what to set.
func OpenBroker(ctx context.Context, cfg BrokerConfig) (*Broker, error) {
	cfg.setDefaults()
	b := &Broker{cfg: cfg}
	url := cfg.URL
	options := []nats.Option{
		nats.Name("tailwater"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		// What cannot be sent now is an error now: the publisher retries.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			cfg.Logger.Warn("log connection", "error", err)
		}),
	}
	if url == "" || url == "embedded" {
		if err := b.startServer(ctx); err != nil {
			return nil, err
		}
		url = ""
		options = append(options, nats.InProcessServer(b.server))
	}
	conn, err := nats.Connect(url, options...)
	if err != nil {
		b.stopServer()
		return nil, fmt.Errorf("connect to the log server %q: %w: check that it runs and its address", cfg.URL, err)
	}
	b.conn = conn
	b.js, err = jetstream.New(conn, jetstream.WithPublishAsyncTimeout(requestTimeout), jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open jetstream: %w", err), b.Close())
	}
	if b.server == nil {
		if _, err := b.js.AccountInfo(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("ask %s for jetstream: %w: start the server with -js", cfg.URL, err), b.Close())
		}
		if limit := conn.MaxPayload(); limit < MaxMessageBytes {
			return nil, errors.Join(fmt.Errorf("log server %s takes messages of %d bytes: set max_payload: %d in its configuration", cfg.URL, limit, MaxMessageBytes), b.Close())
		}
		cfg.Logger.Warn("whether the log server syncs every message cannot be verified: without `jetstream { sync_interval: always }` it loses acknowledged events on power loss", "server", conn.ConnectedUrlRedacted())
	}
	return b, nil
}

func (b *Broker) startServer(ctx context.Context) error {
	if b.cfg.StoreDir == "" {
		return errors.New("embedded log: StoreDir is not set")
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "tailwater",
		DontListen: true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   b.cfg.StoreDir,
		// Its default of two minutes lost acknowledged messages.
		SyncAlways:        true,
		JetStreamMaxStore: b.cfg.MaxBytes,
		// The limit covers headers, the message id among them.
		MaxPayload: MaxMessageBytes + 64<<10,
	})
	if err != nil {
		return fmt.Errorf("embedded log server: %w", err)
	}
	s.SetLoggerV2(serverLogger{b.cfg.Logger}, false, false, false)
	b.server = s
	s.Start()
	// It recovers 1.5 GB a second and more; without its index about half that.
	limit := 5 * time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	if !s.ReadyForConnections(limit) || !s.JetStreamEnabled() {
		b.stopServer()
		return fmt.Errorf("embedded log server did not start on %s: see its messages above; another process may be using the directory", b.cfg.StoreDir)
	}
	return nil
}

func (b *Broker) stopServer() {
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
}

// streamName is what may stand in a subject and in a JetStream name alike.
var streamName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Log opens the log of a stream and creates it if there is none. maxBytes is
// its byte limit, at which appends are refused with ErrFull; a change of it
// takes effect.
func (b *Broker) Log(ctx context.Context, name string, maxBytes int64) (Log, error) {
	if !streamName.MatchString(name) {
		return nil, fmt.Errorf("stream name %q: use letters, digits and underscores", name)
	}
	if maxBytes <= 0 {
		return nil, fmt.Errorf("log of stream %s: byte limit %d is not positive", name, maxBytes)
	}
	return openJetStreamLog(ctx, b.js, name, maxBytes, b.cfg.Replicas)
}

// Close ends the connection and the embedded server. What was acknowledged is
// on disk already; close the publishers first, or their requests fail.
// It is idempotent.
func (b *Broker) Close() error {
	if b.conn != nil {
		b.conn.Close()
	}
	b.stopServer()
	return nil
}

// A serverLogger puts the server's messages into ours.
type serverLogger struct{ log *slog.Logger }

func (l serverLogger) Noticef(format string, v ...any) {
	l.log.Debug("log server: " + fmt.Sprintf(format, v...))
}
func (l serverLogger) Debugf(format string, v ...any) {}
func (l serverLogger) Tracef(format string, v ...any) {}
func (l serverLogger) Warnf(format string, v ...any) {
	l.log.Warn("log server: " + fmt.Sprintf(format, v...))
}
func (l serverLogger) Errorf(format string, v ...any) {
	l.log.Error("log server: " + fmt.Sprintf(format, v...))
}
func (l serverLogger) Fatalf(format string, v ...any) {
	l.log.Error("log server: " + fmt.Sprintf(format, v...))
}

package access

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateEvery is how often the files are looked at, when somebody connects.
const certificateEvery = time.Second

// A Certificate is the server's certificate and key, from two files. When they
// change, connections that come later get the new ones; if the new ones cannot be
// used, the old ones stay and the log says so. It may be used by many goroutines.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	stamp   stamp // of the files that were last tried
	looked  time.Time
}

// A stamp tells two states of the files apart.
type stamp [2]struct {
	changed time.Time
	size    int64
}

// OpenCertificate reads the two files, in PEM. now may be nil.
func OpenCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*Certificate, error) {
	if now == nil {
		now = time.Now
	}
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: now, looked: now()}
	var err error
	if c.stamp, err = c.look(); err == nil {
		err = c.read()
	}
	if err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return c, nil
}

// TLS gives the configuration of a listener with this certificate.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= certificateEvery {
		c.looked = now
		c.refresh()
	}
	return c.current
}

// refresh reads the files if they are others than were last tried. Certificate and
// key are written one after the other: between the two they do not fit, which is
// said, and mended at the next look.
func (c *Certificate) refresh() {
	found, err := c.look()
	if err == nil && found == c.stamp {
		return
	}
	if err == nil {
		err = c.read()
	}
	changed := found != c.stamp
	c.stamp = found
	switch {
	case err == nil:
		c.log.Info("TLS certificate: the new one is in use", "file", c.certFile, "expires", c.current.Leaf.NotAfter)
	case changed:
		c.log.Error("TLS certificate: the new files cannot be used, the OLD certificate stays in use; mend the files, they are read again when they change",
			"certificate", c.certFile, "key", c.keyFile, "old_expires", c.current.Leaf.NotAfter, "error", err)
	}
}

func (c *Certificate) look() (s stamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp{}, err
		}
		s[i].changed, s[i].size = info.ModTime(), info.Size()
	}
	return s, nil
}

func (c *Certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}

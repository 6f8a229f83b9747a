package access

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate with its key, in PEM.
func issue(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestANewCertificateIsServedWithoutARestartAndABadOneIsNot(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	at := time.Now()
	write := func(cert, key []byte) {
		t.Helper()
		at = at.Add(time.Minute)
		for name, text := range map[string][]byte{certFile: cert, keyFile: key} {
			if err := os.WriteFile(name, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, at, at); err != nil { // two writes may fall into one tick of the file system
				t.Fatal(err)
			}
		}
	}
	cert1, key1 := issue(t, 1)
	write(cert1, key1)
	var log bytes.Buffer
	c, err := OpenCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	served := func() int64 {
		t.Helper()
		at = at.Add(certificateEvery)
		pair, err := c.TLS().GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if served() != 1 || log.Len() > 0 {
		t.Errorf("the first is not served, or something is said: %s", log.String())
	}
	cert2, key2 := issue(t, 2)
	write(cert2, key1) // the key is still the old one
	served()           // the second look must not say it again
	if served() != 1 || strings.Count(log.String(), "OLD certificate stays") != 1 {
		t.Errorf("a pair that does not fit: %s", log.String())
	}
	write(cert2, key2)
	if served() != 2 || !strings.Contains(log.String(), "the new one is in use") {
		t.Errorf("the second is not served: %s", log.String())
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if served() != 2 || strings.Count(log.String(), "OLD certificate stays") != 2 {
		t.Errorf("a file that is gone: %s", log.String())
	}
	if c.TLS().MinVersion != tls.VersionTLS12 {
		t.Error("TLS below 1.2")
	}
	if _, err := OpenCertificate(certFile, keyFile, slog.Default(), nil); err == nil {
		t.Error("opened without a key")
	}
}

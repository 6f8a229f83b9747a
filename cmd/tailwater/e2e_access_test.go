package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// selfSigned writes a certificate for loopback, and its key.
func selfSigned(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	putFile(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	putFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	return certFile, keyFile
}

// The whole way of an operator: a first key, keys for others, what they may and may
// not, over TLS, through the loss of everything but the lake.
func TestAServerWithKeysLetsInWhoHasOne(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := selfSigned(t, dir, 1)
	trusted := filepath.Join(dir, "trusted.pem")
	trust := func() { putFile(t, trusted, readFile(t, certFile)) }
	trust()
	secret := func(name string) string { return filepath.Join(dir, name+".key") }
	verb := func(key string, want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := runCLI(t, payments("a", 3), append(args, "--ca-file", trusted, "--key-file", secret(key))...)
		if code != want {
			t.Errorf("%v with the key of %s: %d, want %d\n%s%s", args, key, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	code, admin, _ := runCLI(t, "", "key", "generate")
	if code != 0 {
		t.Fatal(admin)
	}
	putFile(t, secret("admin"), admin)
	project, data, lake := worldFolder(t), filepath.Join(dir, "data"), filepath.Join(dir, "lake")
	args := append([]string{"--lake", lake, "--auth", "keys", "--admin-key-file", secret("admin"), "--tls-cert", certFile, "--tls-key", keyFile}, quiet...)
	p := startProcess(t, project, data, nil, args...)
	if p == nil || !strings.HasPrefix(p.url, "https://127.0.0.1:") {
		t.Fatalf("%+v", p)
	}
	t.Setenv("TAILWATER_URL", p.url)
	ready := func() {
		t.Helper()
		p.eventually("ready", 60*time.Second, func() bool { code, _, _ := runCLI(t, "", "healthcheck"); return code == 0 })
	}
	ready()
	made, _ := verb("admin", 0, "key", "create", "sensors", "--role", "ingest", "--table", "payments")
	putFile(t, secret("sensors"), made)
	made, _ = verb("admin", 0, "key", "create", "board", "--role", "query", "--table", "overall", "--max-memory", "100MB")
	putFile(t, secret("board"), made)
	if list, _ := verb("admin", 0, "key", "list", "--json"); !strings.Contains(list, `"memory":100000000`) {
		t.Errorf("the limit of memory is not shown: %s", list)
	}

	sent, _ := verb("sensors", 0, "send", "payments", "-")
	position := strings.TrimSuffix(strings.Fields(sent)[5], ",")
	verb("sensors", exitFailure, "sql", "SELECT 1")
	if out, _ := verb("board", 0, "view", "overall", "--after", position, "--json"); !strings.Contains(out, `"n":3`) {
		t.Errorf("the view of another's stream: %s", out)
	}
	if _, stderr := verb("board", exitFailure, "sql", "SELECT * FROM payments"); !strings.Contains(stderr, `no table "payments"`) || strings.Contains(stderr, "did you mean") {
		t.Errorf("%s", stderr)
	}
	if _, stderr := verb("board", exitFailure, "send", "payments", "-"); !strings.Contains(stderr, "payments") || strings.Contains(stderr, "hourly") {
		t.Errorf("%s", stderr)
	}
	if _, stderr := verb("board", exitFailure, "status"); !strings.Contains(stderr, "role operate") {
		t.Errorf("%s", stderr)
	}
	if code, _, stderr := runCLI(t, "", "status", "--ca-file", trusted); code != exitFailure || !strings.Contains(stderr, "--key-file") {
		t.Errorf("without a key: %d %s", code, stderr)
	}
	verb("admin", 0, "status")
	verb("admin", 0, "key", "revoke", "board")
	if _, stderr := verb("board", exitFailure, "view", "overall"); !strings.Contains(stderr, "revoked") {
		t.Errorf("%s", stderr)
	}
	verb("admin", 0, "batch", "run")
	auditFile := filepath.Join(data, "audit.log")
	if err := os.Rename(auditFile, auditFile+".1"); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.eventually("a new audit log", 10*time.Second, func() bool { _, err := os.Stat(auditFile); return err == nil })
	selfSigned(t, dir, 2)
	p.eventually("the new certificate is served", 10*time.Second, func() bool {
		c, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == 2
	})
	p.stop()
	audit := readFile(t, auditFile+".1")
	mustContain(t, "audit log", audit, `"principal":"sensors"`, `"action":"POST /v1/streams/{stream}/events"`, `"statement":"SELECT * FROM payments"`, `"outcome":"denied"`)
	for _, name := range []string{"admin", "sensors", "board"} {
		if body := strings.TrimSpace(readFile(t, secret(name))); strings.Contains(audit+p.output(), body) {
			t.Errorf("the secret of %s is in a log", name)
		}
	}

	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	trusted = filepath.Join(dir, "trusted-2.pem") // a client reads such a file once
	trust()
	p = startProcess(t, project, data, nil, args...)
	if p == nil {
		t.Fatal("no start")
	}
	t.Setenv("TAILWATER_URL", p.url)
	ready()
	verb("sensors", 0, "send", "payments", "-")
	if list, _ := verb("admin", 0, "key", "list"); !strings.Contains(list, "revoked") {
		t.Errorf("%s", list)
	}
	verb("board", exitFailure, "view", "overall")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnExposedServerIsLoudOrIsNone(t *testing.T) {
	project := worldFolder(t)
	code, _, stderr := runBinary(t, nil, "serve", project, "--data", t.TempDir(), "--http", "0.0.0.0:0")
	if code != exitUsage || !strings.Contains(stderr, "--auth keys --admin-key-file") || !strings.Contains(stderr, "--insecure-listen") {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := runBinary(t, nil, "serve", project, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--auth", "keys"); code != exitFailure || !strings.Contains(stderr, "tailwater key generate") {
		t.Errorf("keys, and none: %d %s", code, stderr)
	}
	p := startCommand(t, nil, append([]string{"serve", project, "--data", t.TempDir(), "--http", "0.0.0.0:0", "--insecure-listen"}, quiet...)...)
	if p == nil {
		t.Fatal("no start")
	}
	mustContain(t, "log", p.output(), "INSECURE")
	p.url = strings.Replace(p.url, "[::]", "127.0.0.1", 1)
	p.call(http.MethodPost, "/v1/batch/run", nil, "Origin", "http://evil.example").refusal(t, http.StatusForbidden, "cross_origin")
}

func TestThePageSignsInWithAKey(t *testing.T) {
	const admin = "an-admin-key-for-the-page"
	data := t.TempDir()
	p := startProcess(t, writeFiles(t, pageProject), data, []string{"TAILWATER_ADMIN_KEY=" + admin}, append([]string{"--auth", "keys"}, quiet...)...)
	if p == nil || !p.awaitReady() {
		t.Fatal("ended before it was ready")
	}
	w := openPage(t, p, desktop, "/")
	asked := `document.querySelector('.signin')?.open`
	w.until("the page asks for a key", asked)
	enter := func(key string) {
		t.Helper()
		eval[bool](w, `(document.querySelector('#key').focus(), true)`)
		w.key(key + "\r")
	}
	// While the page is loaded anew, it cannot be asked.
	reloaded := func(what, condition string) {
		t.Helper()
		p.eventually(what, 45*time.Second, func() bool {
			held, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("Boolean("+condition+")"))
			return err == nil && held
		})
	}
	enter("tw_wrong")
	w.until("a wrong key is said to be one", `document.querySelector('#signin-why').textContent.includes('no whole key')`)
	enter(admin)
	reloaded("the page is there", `document.querySelector('.state')?.dataset.state === 'ready' && !(`+asked+`) && document.querySelectorAll('.card').length === 3`)
	w.picture("signed-in")
	if left := eval[string](w, `JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie`); strings.Contains(left, admin) || strings.Contains(left, "tailwater_session") {
		t.Errorf("scripts can read %s", left)
	}
	if status := eval[int](w, `fetch('/v1/views/everything').then((r) => r.status)`); status != http.StatusOK {
		t.Errorf("a view, signed in: %d", status)
	}
	eval[bool](w, `([...document.querySelectorAll('.help button')].find((b) => b.textContent === 'Sign out').click(), true)`)
	reloaded("signed out", asked)
	if status := eval[int](w, `fetch('/v1/status').then((r) => r.status)`); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
	if strings.Contains(readFile(t, filepath.Join(data, "audit.log")), admin) {
		t.Error("the key is in the audit log")
	}
}

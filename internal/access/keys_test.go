package access

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

// memory keeps what was stored as it would be written.
type memory struct {
	lines [][]byte
	fail  error
}

func (m *memory) Load(context.Context) ([]Key, error) {
	var list []Key
	for _, line := range m.lines {
		var k Key
		if err := json.Unmarshal(line, &k); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, m.fail
}

func (m *memory) Put(_ context.Context, k Key) error {
	if m.fail != nil {
		return m.fail
	}
	line, err := json.Marshal(k)
	m.lines = append(m.lines, line)
	return err
}

const adminSecret = "0123456789abcdefghijklmn"

// clock is a time that tests set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func open(t *testing.T, m *memory, c *clock) *Keys {
	t.Helper()
	k, err := Open(t.Context(), Config{Store: m, Admin: adminSecret, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func create(t *testing.T, k *Keys, key Key) string {
	t.Helper()
	secret, _, err := k.Create(t.Context(), AdminName, key)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestAKeyOpensUntilItEnds(t *testing.T) {
	m, c := &memory{}, &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	k := open(t, m, c)
	grafana := create(t, k, Key{Name: "grafana", Roles: []Role{Query}, Tables: []string{"daily"}, Expires: c.at.Add(time.Hour)})
	sender := create(t, k, Key{Name: "sender", Roles: []Role{Ingest}})
	for _, keys := range []*Keys{k, open(t, m, c)} { // and after a restart
		p, err := keys.Authenticate(grafana)
		if err != nil || p.Name != "grafana" || !p.May(Query) || p.May(Operate) || !p.Sees("daily") || p.Sees("payments") {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := keys.Authenticate(sender); err != nil || p.Name != "sender" || !p.Sees("payments") {
			t.Errorf("%+v, %v", p, err)
		}
	}
	c.at = c.at.Add(time.Hour)
	if _, err := k.Authenticate(grafana); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	if _, err := k.Principal("grafana"); !errors.Is(err, ErrExpired) {
		t.Errorf("expired by name: %v", err)
	}
	if _, err := k.Revoke(t.Context(), "sender"); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []*Keys{k, open(t, m, c)} {
		if _, err := keys.Authenticate(sender); !errors.Is(err, ErrRevoked) {
			t.Errorf("revoked: %v", err)
		}
		if _, err := keys.Principal("sender"); !errors.Is(err, ErrRevoked) {
			t.Errorf("revoked by name: %v", err)
		}
	}
}

func TestOnlyTheWholeSecretOpens(t *testing.T) {
	k := open(t, &memory{}, &clock{time.Now()})
	secret := create(t, k, Key{Name: "a-b2", Roles: []Role{Query}})
	other, err := NewSecret("a-b2")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "admin", "a-b2", other, secret[:len(secret)-1], secret + "a", strings.ToUpper(secret), " " + secret, adminSecret[:23], strings.Replace(secret, "a-b2", "a-b3", 1)} {
		if p, err := k.Authenticate(wrong); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %+v %v", wrong, p, err)
		}
	}
	if _, err := k.Authenticate(secret[:len(secret)-1]); !errors.Is(err, errForm) {
		t.Errorf("a key that is cut off is not told so: %v", err)
	}
	if p, err := k.Authenticate(adminSecret); err != nil || p.Name != AdminName || !p.May(Operate) {
		t.Errorf("%+v %v", p, err)
	}
}

func TestSecretsAreFoundByScannersAndStoredNowhere(t *testing.T) {
	m := &memory{}
	k := open(t, m, &clock{time.Now()})
	secret := create(t, k, Key{Name: "grafana", Roles: []Role{Query}})
	if found := regexp.MustCompile(SecretPattern).FindString(`key: "` + secret + `"`); found != secret {
		t.Errorf("the pattern finds %q in %q", found, secret)
	}
	body := []byte(secret[len("tw_grafana_"):])
	for _, line := range m.lines {
		if bytes.Contains(line, body[:10]) {
			t.Errorf("stored: %s", line)
		}
	}
}

// proof plays the client of RFC 5802 and the check of its server.
func proof(v Verifier, password string) bool {
	salted, err := pbkdf2.Key(sha256.New, password, v.Salt, v.Iterations, 32)
	if err != nil {
		return false
	}
	message := "n=user,r=c,r=cs,s=salt,i=4096,c=biws,r=cs"
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	signature := mac(stored[:], message)
	sent := make([]byte, len(clientKey))
	for i := range sent {
		sent[i] = clientKey[i] ^ signature[i]
	}
	recovered := make([]byte, len(sent))
	for i, s := range mac(v.StoredKey, message) {
		recovered[i] = sent[i] ^ s
	}
	sum := sha256.Sum256(recovered)
	return hmac.Equal(sum[:], v.StoredKey) && hmac.Equal(mac(salted, "Server Key"), v.ServerKey)
}

func TestScramProvesTheSecretByTheKeysName(t *testing.T) {
	m, c := &memory{}, &clock{time.Now()}
	secret := create(t, open(t, m, c), Key{Name: "psql", Roles: []Role{Query}})
	k := open(t, m, c)
	v, ok := k.Verifier("psql")
	if !ok || !proof(v, secret) || proof(v, secret+"x") || v.Iterations < 4096 {
		t.Errorf("%+v", v)
	}
	if p, err := k.Principal("psql"); err != nil || p.Name != "psql" {
		t.Errorf("%+v %v", p, err)
	}
	if v, ok := k.Verifier(AdminName); !ok || !proof(v, adminSecret) {
		t.Error("the admin key cannot be used by name")
	}
}

func TestScramDoesNotTellWhichNamesThereAre(t *testing.T) {
	k := open(t, &memory{}, &clock{time.Now()})
	create(t, k, Key{Name: "psql", Roles: []Role{Query}})
	real, _ := k.Verifier("psql")
	none, ok := k.Verifier("nobody")
	again, _ := k.Verifier("nobody")
	other, _ := k.Verifier("nobody2")
	if ok || len(none.Salt) != len(real.Salt) || none.Iterations != real.Iterations || len(none.StoredKey) != len(real.StoredKey) || len(none.ServerKey) != len(real.ServerKey) {
		t.Errorf("%+v", none)
	}
	if !bytes.Equal(none.Salt, again.Salt) || bytes.Equal(none.Salt, other.Salt) {
		t.Error("a made-up salt must stay, and be of its name")
	}
	if _, err := k.Principal("nobody"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

// The example of RFC 7677, section 3.
func TestVerifiersAreThoseOfTheStandard(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	v, err := newVerifier("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	message := "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	if got := base64.StdEncoding.EncodeToString(mac(v.ServerKey, message)); got != "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("server signature %s", got)
	}
}

func TestKeysThatMakeNoSenseAreRefused(t *testing.T) {
	c := &clock{time.Now()}
	k := open(t, &memory{}, c)
	query := []Role{Query}
	for what, key := range map[string]Key{
		"no name":           {Roles: query},
		"a name with _":     {Name: "a_b", Roles: query},
		"a long name":       {Name: strings.Repeat("a", 41), Roles: query},
		"the admin's name":  {Name: AdminName, Roles: query},
		"no role":           {Name: "a"},
		"an unknown role":   {Name: "a", Roles: []Role{"root"}},
		"expired":           {Name: "a", Roles: query, Expires: c.at},
		"no table":          {Name: "a", Roles: query, Tables: []string{}},
		"a scoped admin":    {Name: "a", Roles: []Role{Admin}, Tables: []string{"t"}},
		"a negative limit":  {Name: "a", Roles: query, Limits: Limits{Rows: -1}},
		"too little memory": {Name: "a", Roles: query, Limits: Limits{Memory: LeastMemory - 1}},
	} {
		var invalid *InvalidError
		if _, _, err := k.Create(t.Context(), AdminName, key); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list := k.List(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestANameIsFreeAgainWhenItsKeyHasEnded(t *testing.T) {
	k := open(t, &memory{}, &clock{time.Now()})
	first := create(t, k, Key{Name: "a", Roles: []Role{Query}})
	token, _, err := k.Session(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Create(t.Context(), AdminName, Key{Name: "a", Roles: []Role{Admin}}); !errors.Is(err, ErrExists) {
		t.Errorf("a living key was replaced: %v", err)
	}
	if _, err := k.Revoke(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	second := create(t, k, Key{Name: "a", Roles: []Role{Ingest}})
	if _, err := k.Authenticate(first); !errors.Is(err, ErrUnknown) {
		t.Errorf("the first secret: %v", err)
	}
	if p, err := k.Resume(token); err == nil {
		t.Errorf("a session of the first key became %+v", p)
	}
	if p, err := k.Authenticate(second); err != nil || !p.May(Ingest) {
		t.Errorf("%+v %v", p, err)
	}
}

func TestAKeyThatIsNotStoredIsNone(t *testing.T) {
	m := &memory{}
	k := open(t, m, &clock{time.Now()})
	secret := create(t, k, Key{Name: "a", Roles: []Role{Query}})
	m.fail = errors.New("the lake is away")
	if _, _, err := k.Create(t.Context(), AdminName, Key{Name: "b", Roles: []Role{Query}}); !errors.Is(err, m.fail) {
		t.Errorf("create: %v", err)
	}
	if _, err := k.Principal("b"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a key that is not stored opens: %v", err)
	}
	if _, err := k.Revoke(t.Context(), "a"); !errors.Is(err, m.fail) || !strings.Contains(err.Error(), "restart") {
		t.Errorf("revoke: %v", err)
	}
	if _, err := k.Authenticate(secret); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked, though not stored: %v", err)
	}
	for name, want := range map[string]error{"c": ErrAbsent} {
		if _, err := k.Revoke(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("revoke %s: %v", name, err)
		}
	}
}

func TestNobodyIsLockedOut(t *testing.T) {
	if _, err := Open(t.Context(), Config{Store: &memory{}}); err == nil || !strings.Contains(err.Error(), "--admin-key-file") {
		t.Errorf("a server that nobody can enter: %v", err)
	}
	for _, weak := range []string{"short", strings.Repeat("a", 30) + "\n", strings.Repeat("ä", 30)} {
		if _, err := Open(t.Context(), Config{Admin: weak}); err == nil {
			t.Errorf("%q is an admin key", weak)
		}
	}
}

func TestASessionLastsADayOfWorkAndNoLongerThanItsKey(t *testing.T) {
	m, c := &memory{}, &clock{time.Now()}
	k := open(t, m, c)
	secret := create(t, k, Key{Name: "a", Roles: []Role{Query}})
	token, p, err := k.Session(secret)
	if err != nil || p.Name != "a" || strings.Contains(token, secret[8:20]) {
		t.Fatalf("%s %+v %v", token, p, err)
	}
	admin, _, err := k.Session(adminSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []string{token, admin} {
		if _, err := k.Resume(good); err != nil {
			t.Error(err)
		}
	}
	for _, forged := range []string{"", "a", "a.b.c", token + "x", strings.Replace(token, "a.", "admin.", 1), strings.Replace(token, ".", ".9", 1)} {
		if _, err := k.Resume(forged); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", forged, err)
		}
	}
	if _, err := open(t, m, c).Resume(token); !errors.Is(err, ErrUnknown) {
		t.Errorf("after a restart: %v", err)
	}
	if _, _, err := k.Session("tw_wrong"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	c.at = c.at.Add(SessionTime)
	if _, err := k.Resume(token); !errors.Is(err, ErrExpired) {
		t.Errorf("after %s: %v", SessionTime, err)
	}
	c.at = c.at.Add(-time.Hour)
	if _, err := k.Revoke(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Resume(token); !errors.Is(err, ErrRevoked) {
		t.Errorf("of a revoked key: %v", err)
	}
}

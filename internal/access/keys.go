package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Errors of authentication. Only who has proven a key is told that it has ended.
var (
	ErrUnknown = errors.New("no such key")
	ErrRevoked = errors.New("the key is revoked")
	ErrExpired = errors.New("the key has expired")
	// ErrExists is for a name that a living key has, ErrAbsent for one that none has.
	ErrExists = errors.New("the name is taken")
	ErrAbsent = errors.New("there is no key of this name")
)

// An InvalidError says what is wrong with a key that was asked for.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return e.Message }

// AdminName is the principal that the bootstrap secret makes; no key can have it.
const AdminName = "admin"

// adminChars is the least length of a bootstrap secret: 24 of base64 are 144 bits.
const adminChars = 24

// A Key is what is stored of a key: everything but its secret.
type Key struct {
	Name     string
	Roles    []Role
	Tables   []string // nil = all
	Limits   Limits
	Created  time.Time
	By       string    // who created it
	Expires  time.Time // zero = never
	Revoked  time.Time // zero = it lives
	Hash     []byte    // SHA-256 of the secret, which is random: a slow hash would protect nothing more
	Verifier Verifier
}

// A Store keeps keys. Put returns when the key is stored for good, in place of an
// earlier one of its name; it is called by one goroutine at a time. Load gives the
// latest of each name.
type Store interface {
	Load(ctx context.Context) ([]Key, error)
	Put(ctx context.Context, k Key) error
}

// Config is what Keys need.
type Config struct {
	Store Store            // nil keeps keys in memory, for tests
	Admin string           // the bootstrap secret; empty for none
	Now   func() time.Time // nil is time.Now
}

// Keys are the keys of a server. All methods may be called by many goroutines.
type Keys struct {
	store   Store
	now     func() time.Time
	admin   *entry // of the bootstrap secret; nil without one
	session []byte // signs sessions; of this process, so that a restart ends them
	decoy   []byte // makes up verifiers for names that are none

	writing sync.Mutex // one change at a time, in store and memory
	mu      sync.RWMutex
	byName  map[string]*entry
}

// An entry is a key with its principal. It is never changed.
type entry struct {
	Key
	principal *Principal
}

func newEntry(k Key) *entry {
	return &entry{k, &Principal{Name: k.Name, Roles: k.Roles, Tables: k.Tables, Limits: k.Limits}}
}

// Open reads the keys. It refuses a server that nobody could enter.
func Open(ctx context.Context, cfg Config) (*Keys, error) {
	k := &Keys{store: cfg.Store, now: cfg.Now, byName: map[string]*entry{}, session: make([]byte, 32), decoy: make([]byte, 32)}
	if k.now == nil {
		k.now = time.Now
	}
	rand.Read(k.session)
	rand.Read(k.decoy)
	if cfg.Store != nil {
		list, err := cfg.Store.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the keys: %w", err)
		}
		for _, key := range list {
			k.byName[key.Name] = newEntry(key)
		}
	}
	if cfg.Admin != "" {
		if err := CheckAdmin(cfg.Admin); err != nil {
			return nil, err
		}
		admin, err := seal(Key{Name: AdminName, Roles: []Role{Admin}, Created: k.now()}, cfg.Admin)
		if err != nil {
			return nil, err
		}
		k.admin = newEntry(admin)
	}
	if k.admin == nil && len(k.byName) == 0 {
		return nil, errors.New("authentication is on and there is no key: put a first one into a file (`tailwater key generate > admin.key`) and name it with --admin-key-file, or set TAILWATER_ADMIN_KEY")
	}
	return k, nil
}

// CheckAdmin refuses a bootstrap secret that could be guessed, or that a client
// could not send.
func CheckAdmin(secret string) error {
	if len(secret) < adminChars {
		return fmt.Errorf("the admin key is shorter than %d characters; `tailwater key generate` makes one", adminChars)
	}
	for _, c := range []byte(secret) {
		if c <= ' ' || c > '~' {
			return errors.New("the admin key has a character that is not plain ASCII, or a space; `tailwater key generate` makes one")
		}
	}
	return nil
}

// seal adds what proves the secret.
func seal(k Key, secret string) (Key, error) {
	sum := sha256.Sum256([]byte(secret))
	var err error
	k.Hash = sum[:]
	k.Verifier, err = newVerifier(secret, newSalt(), scramIterations)
	return k, err
}

// Authenticate gives the principal of a secret. The error is ErrUnknown,
// ErrRevoked or ErrExpired, possibly with more words.
func (k *Keys) Authenticate(secret string) (*Principal, error) {
	sum := sha256.Sum256([]byte(secret))
	if k.admin != nil && subtle.ConstantTimeCompare(sum[:], k.admin.Hash) == 1 {
		return k.admin.principal, nil
	}
	name, err := nameOf(secret)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	e := k.entry(name)
	if e == nil || subtle.ConstantTimeCompare(sum[:], e.Hash) != 1 {
		return nil, ErrUnknown
	}
	return k.living(e)
}

// entry gives a key whether it lives or not; nil if there is none of the name.
func (k *Keys) entry(name string) *entry {
	if name == AdminName {
		return k.admin
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.byName[name]
}

// living gives the principal of a key that has not ended.
func (k *Keys) living(e *entry) (*Principal, error) {
	switch {
	case !e.Revoked.IsZero():
		return nil, ErrRevoked
	case !e.Expires.IsZero() && !k.now().Before(e.Expires):
		return nil, ErrExpired
	}
	return e.principal, nil
}

// Verifier gives what SCRAM needs to prove a user, whose name is the key's and whose
// password is the secret. For a name that is none it gives false and a verifier that
// nothing satisfies, always the same: an exchange with it tells nobody which names
// there are. After the proof Principal decides.
func (k *Keys) Verifier(user string) (Verifier, bool) {
	if e := k.entry(user); e != nil {
		return e.Verifier, true
	}
	return Verifier{
		Salt: mac(k.decoy, "salt "+user)[:16], Iterations: scramIterations,
		StoredKey: mac(k.decoy, "stored "+user), ServerKey: mac(k.decoy, "server "+user),
	}, false
}

// Principal gives the principal of a user who has proven the secret by SCRAM. It
// refuses with ErrUnknown, ErrRevoked or ErrExpired.
func (k *Keys) Principal(user string) (*Principal, error) {
	e := k.entry(user)
	if e == nil {
		return nil, ErrUnknown
	}
	return k.living(e)
}

// Create makes a key of k's name, roles, tables, limits and expiry, and gives its
// secret: this once, it is stored nowhere.
func (k *Keys) Create(ctx context.Context, by string, key Key) (secret string, _ Key, err error) {
	now := k.now().UTC().Truncate(time.Microsecond) // as the lake stores times
	key.Expires = key.Expires.UTC().Truncate(time.Microsecond)
	if err := checkKey(key, now); err != nil {
		return "", Key{}, err
	}
	if secret, err = NewSecret(key.Name); err != nil {
		return "", Key{}, err
	}
	key.Created, key.By, key.Revoked = now, by, time.Time{}
	if key, err = seal(key, secret); err != nil {
		return "", Key{}, err
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if e := k.entry(key.Name); e != nil {
		if _, err := k.living(e); err == nil {
			return "", Key{}, fmt.Errorf("%w: key %s lives; revoke it first, or choose another name", ErrExists, key.Name)
		}
	}
	if k.store != nil {
		if err := k.store.Put(ctx, key); err != nil {
			return "", Key{}, fmt.Errorf("store key %s: %w", key.Name, err)
		}
	}
	k.set(key)
	return secret, key, nil
}

func checkKey(key Key, now time.Time) error {
	if err := checkName(key.Name); err != nil {
		return err
	}
	switch {
	case key.Name == AdminName:
		return &InvalidError{"the name admin is that of the first key, which is in a file or in the environment; choose another"}
	case len(key.Roles) == 0:
		return &InvalidError{"the key has no role; the roles are " + JoinRoles(Roles)}
	case slices.Contains(key.Roles, Admin) && key.Tables != nil:
		return &InvalidError{"an admin can make any key, so that tables are no bound; leave the tables out, or the role admin"}
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return &InvalidError{fmt.Sprintf("the key would expire at %s, which is not in the future", key.Expires.Format(time.RFC3339))}
	case key.Tables != nil && len(key.Tables) == 0:
		return &InvalidError{"the list of tables is empty; name some, or leave it out for all"}
	case key.Limits.Time < 0, key.Limits.Rows < 0, key.Limits.Bytes < 0, key.Limits.Memory < 0, key.Limits.Concurrency < 0, key.Limits.Queue < 0:
		return &InvalidError{"a limit is negative; leave it out for the server's own"}
	case key.Limits.Memory > 0 && key.Limits.Memory < LeastMemory:
		return &InvalidError{fmt.Sprintf("the limit of memory is less than %d MB, with which the engine can do little; raise it, or leave it out", int64(LeastMemory/1e6))}
	}
	for _, r := range key.Roles {
		if _, err := ParseRole(string(r)); err != nil {
			return &InvalidError{err.Error()}
		}
	}
	return nil
}

func (k *Keys) set(key Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byName[key.Name] = newEntry(key)
}

// Revoke ends a key. From here on it is refused, also if storing that fails: then
// the error says that a restart could bring the key back.
func (k *Keys) Revoke(ctx context.Context, name string) (Key, error) {
	k.writing.Lock()
	defer k.writing.Unlock()
	if name == AdminName {
		return Key{}, &InvalidError{"the admin key is not stored here: change the file or the variable that holds it, and start again"}
	}
	e := k.entry(name)
	if e == nil {
		return Key{}, fmt.Errorf("%w: %s", ErrAbsent, name)
	}
	key := e.Key
	if key.Revoked.IsZero() {
		key.Revoked = k.now().UTC().Truncate(time.Microsecond)
	}
	k.set(key)
	if k.store != nil {
		if err := k.store.Put(ctx, key); err != nil {
			return key, fmt.Errorf("key %s is refused from now on, but that is not stored, and a restart may bring it back; revoke it again: %w", name, err)
		}
	}
	return key, nil
}

// List gives all keys by name, those that have ended too.
func (k *Keys) List() []Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	list := make([]Key, 0, len(k.byName))
	for _, e := range k.byName {
		list = append(list, e.Key)
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

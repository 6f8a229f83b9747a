package serving

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tailwater/tailwater/internal/access"
)

// keyStoreTime bounds how long a change of the keys waits for the lake.
const keyStoreTime = 30 * time.Second

// A keyInfo is a key as admins see it. Limits that are 0 are the server's.
type keyInfo struct {
	Name    string        `json:"name"`
	Roles   []access.Role `json:"roles"`
	Tables  []string      `json:"tables"` // null = all
	Created time.Time     `json:"created"`
	By      string        `json:"created_by"`
	Expires *time.Time    `json:"expires"`
	Revoked *time.Time    `json:"revoked"`
	Status  string        `json:"status"` // "active", "expired", "revoked"
	Limits  keyLimits     `json:"limits"`
	Secret  string        `json:"secret,omitempty"` // in the answer to its creation, and never again
}

type keyLimits struct {
	TimeoutMS   int64 `json:"timeout_ms,omitempty"`
	Rows        int64 `json:"rows,omitempty"`
	Bytes       int64 `json:"bytes,omitempty"`
	Memory      int64 `json:"memory,omitempty"` // bytes
	Concurrency int   `json:"concurrency,omitempty"`
	Queue       int   `json:"queue,omitempty"`
}

func infoOf(k access.Key, now time.Time) keyInfo {
	info := keyInfo{Name: k.Name, Roles: k.Roles, Tables: k.Tables, Created: k.Created, By: k.By, Status: "active", Limits: keyLimits{
		k.Limits.Time.Milliseconds(), k.Limits.Rows, k.Limits.Bytes, k.Limits.Memory, k.Limits.Concurrency, k.Limits.Queue,
	}}
	if !k.Expires.IsZero() {
		if info.Expires = &k.Expires; !now.Before(k.Expires) {
			info.Status = "expired"
		}
	}
	if !k.Revoked.IsZero() {
		info.Revoked, info.Status = &k.Revoked, "revoked"
	}
	return info
}

// keyRoutes serves the keys:
//
//	GET    /v1/keys        all keys, without their secrets
//	POST   /v1/keys        {"name","roles","tables","expires_in","limits"}: makes one, and shows its secret this once
//	DELETE /v1/keys/{key}  revokes one
func (s *server) keyRoutes() []route {
	on := func(h handler) handler {
		return func(w http.ResponseWriter, r *http.Request) error {
			if err := noParameters(r); err != nil {
				return err
			}
			if s.cfg.Keys == nil {
				return &statusError{http.StatusConflict, &Refusal{Code: "authentication_off", Message: "authentication is off: this server knows no keys", Hint: "start it with --auth keys"}}
			}
			w.Header().Set("Cache-Control", "no-store")
			return h(w, r)
		}
	}
	return []route{
		{"GET /v1/keys", on(s.listKeys)},
		{"POST /v1/keys", on(s.createKey)},
		{"DELETE /v1/keys/{key}", on(s.revokeKey)},
	}
}

func (s *server) listKeys(w http.ResponseWriter, r *http.Request) error {
	list, now := []keyInfo{}, time.Now()
	for _, k := range s.cfg.Keys.List() {
		list = append(list, infoOf(k, now))
	}
	return reply(w)(map[string]any{"keys": list}, nil)
}

func (s *server) createKey(w http.ResponseWriter, r *http.Request) error {
	body, err := s.readBody(r)
	if err != nil {
		return err
	}
	var fields struct {
		Name      string        `json:"name"`
		Roles     []access.Role `json:"roles"`
		Tables    []string      `json:"tables"`
		ExpiresIn string        `json:"expires_in"`
		Limits    keyLimits     `json:"limits"`
	}
	if err := decodeStrict(body, &fields, ""); err != nil {
		return &Refusal{Code: "bad_body", Message: "the body is not as expected", Hint: `send {"name": "grafana", "roles": ["query"]}, optionally with "tables", "expires_in" and "limits"`}
	}
	key := access.Key{Name: fields.Name, Roles: fields.Roles, Tables: fields.Tables, Limits: access.Limits{
		Time: time.Duration(fields.Limits.TimeoutMS) * time.Millisecond, Rows: fields.Limits.Rows, Bytes: fields.Limits.Bytes, Memory: fields.Limits.Memory,
		Concurrency: fields.Limits.Concurrency, Queue: fields.Limits.Queue,
	}}
	if fields.ExpiresIn != "" {
		life, err := time.ParseDuration(fields.ExpiresIn)
		if err != nil || life <= 0 {
			return &Refusal{Code: "bad_body", Message: "expires_in is no duration such as 720h"}
		}
		key.Expires = time.Now().Add(life)
	}
	if err := s.knownTables(key.Tables); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), keyStoreTime)
	defer cancel()
	secret, made, err := s.cfg.Keys.Create(ctx, access.From(r.Context()).Name, key)
	if err != nil {
		return keyError(err)
	}
	s.cfg.Log.Info("key created", "key", made.Name, "roles", access.JoinRoles(made.Roles), "by", made.By)
	info := infoOf(made, made.Created)
	info.Secret = secret
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	return json.NewEncoder(w).Encode(info)
}

// ended reports whether the key that a request was let in with has ended since.
func (s *server) ended(ctx context.Context) bool {
	p := access.From(ctx)
	if p == nil || s.cfg.Keys == nil {
		return false
	}
	now, err := s.cfg.Keys.Principal(p.Name)
	return err != nil || now != p
}

// knownTables refuses names that nothing has: a key that is misspelt sees nothing,
// and one whose name comes later sees what nobody meant.
func (s *server) knownTables(names []string) error {
	if s.cfg.Tables == nil {
		return nil
	}
	all := s.cfg.Tables()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return unknownTable(name, all, 0)
		}
	}
	return nil
}

func (s *server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), keyStoreTime)
	defer cancel()
	key, err := s.cfg.Keys.Revoke(ctx, r.PathValue("key"))
	if key.Name != "" {
		s.cfg.Log.Info("key revoked", "key", key.Name, "by", access.From(r.Context()).Name, "stored", err == nil)
	}
	if err != nil {
		return keyError(err)
	}
	return reply(w)(infoOf(key, time.Now()), nil)
}

// keyError gives an error of the keys its status.
func keyError(err error) error {
	var invalid *access.InvalidError
	switch {
	case errors.As(err, &invalid):
		return &Refusal{Code: "bad_key", Message: invalid.Message}
	case errors.Is(err, access.ErrExists):
		return &statusError{http.StatusConflict, &Refusal{Code: "key_exists", Message: err.Error()}}
	case errors.Is(err, access.ErrAbsent):
		return &statusError{http.StatusNotFound, &Refusal{Code: "not_found", Message: err.Error(), Hint: "tailwater key list shows the keys"}}
	case errors.Is(err, context.DeadlineExceeded):
		return &statusError{http.StatusServiceUnavailable, &Refusal{Code: "lake_unavailable", Message: err.Error(), Hint: "the lake does not answer; try again when it does"}}
	}
	return err
}

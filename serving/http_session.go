package serving

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/tailwater/tailwater/internal/access"
)

// The page signs in by POST /v1/session with a key, and is remembered by a cookie
// that no script can read and no other site can have sent:
//
//	POST   /v1/session  {"key"}  sets the cookie
//	GET    /v1/session           who one is
//	DELETE /v1/session           forgets the cookie
const (
	sessionPath   = "/v1/session"
	sessionCookie = "tailwater_session"
)

// keyBytesMax bounds the body that has a key in it.
const keyBytesMax = 4 << 10

// shownKey reads the key from the body of a sign-in.
func shownKey(r *http.Request) (string, error) {
	var fields struct {
		Key string `json:"key"`
	}
	err := json.NewDecoder(io.LimitReader(r.Body, keyBytesMax)).Decode(&fields)
	if err != nil || fields.Key == "" {
		return "", &Refusal{Code: "bad_body", Message: "the body holds no key", Hint: `send {"key": "tw_…"}`} // the decoder's words could quote the key
	}
	return fields.Key, nil
}

// session answers at sessionPath those who were let in.
func (g *Guard) session(w http.ResponseWriter, r *http.Request, in pass) {
	switch r.Method {
	case http.MethodPost:
		if in.secret == "" {
			break // a session needs no other
		}
		token, _, err := g.cfg.Keys.Session(in.secret)
		if err != nil {
			g.refuse(w, r, &statusError{http.StatusUnauthorized, &Refusal{Code: "unauthenticated", Message: err.Error()}})
			return
		}
		setSession(w, r, token, access.SessionTime)
	case http.MethodDelete:
		endSession(w, r)
	case http.MethodGet, http.MethodHead:
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		g.refuse(w, r, &statusError{http.StatusMethodNotAllowed, &Refusal{Code: "method_not_allowed", Message: r.Method + " is not allowed here", Hint: "use GET, POST or DELETE"}})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	reply(w)(map[string]any{"authentication": "keys", "principal": in.principal.Name, "roles": in.principal.Roles, "tables": in.principal.Tables}, nil)
}

func setSession(w http.ResponseWriter, r *http.Request, token string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: int(life.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode,
		// A proxy that speaks TLS says so; who claims it wrongly only harms himself.
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}

func endSession(w http.ResponseWriter, r *http.Request) { setSession(w, r, "", -time.Second) }

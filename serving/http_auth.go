package serving

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/access"
)

// routeRoles says which roles, any of them, a route asks for. A route that is not
// here is the admin's alone: what is forgotten is closed, and a test names it.
var routeRoles = map[string][]access.Role{
	"GET /v1/views":                {access.Query},
	"GET /v1/views/{view}":         {access.Query},
	"GET /v1/views/{view}/live":    {access.Query},
	"GET /v1/views/{view}/check":   {access.Query},
	"GET /v1/views/{view}/history": {access.Query},
	"GET /v1/sql":                  {access.Query},
	"POST /v1/sql":                 {access.Query},
	"GET /v1/queries":              {access.Query},
	"GET /v1/queries/{query}":      {access.Query},
	"POST /v1/queries/{query}":     {access.Query},
	"GET /v1/streams":              {access.Query, access.Ingest},
	"GET /v1/streams/{stream}":     {access.Query, access.Ingest},
	"GET /openapi.json":            {access.Query, access.Ingest, access.Operate},
	"GET /v1/status":               {access.Operate},
	"POST /v1/batch/run":           {access.Operate},
	"GET /v1/batch/runs":           {access.Operate},
	"POST /v1/apply":               {access.Operate},
	"GET /v1/apply":                {access.Operate},
	"GET /metrics":                 {access.Operate},
	"GET /v1/keys":                 {access.Admin},
	"POST /v1/keys":                {access.Admin},
	"DELETE /v1/keys/{key}":        {access.Admin},
	"GET /healthz":                 nil,
	"GET /readyz":                  nil,
}

// openPaths need no key: supervisors ask them.
var openPaths = map[string]bool{"/healthz": true, "/readyz": true}

// permitted lets a route's handler run for those who have the role.
func permitted(pattern string, h handler) handler {
	roles, known := routeRoles[pattern]
	if !known {
		roles = []access.Role{access.Admin}
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := require(r.Context(), roles); err != nil {
			return err
		}
		return h(w, r)
	}
}

// require refuses a principal that has none of the roles; no roles ask for nothing.
func require(ctx context.Context, roles []access.Role) error {
	p := access.From(ctx)
	if len(roles) == 0 || slices.ContainsFunc(roles, p.May) {
		return nil
	}
	want := "the role " + access.JoinRoles(roles)
	if len(roles) > 1 {
		want = "any of the roles " + access.JoinRoles(roles)
	}
	return &statusError{http.StatusForbidden, &Refusal{
		Code: "forbidden", Message: "the key " + p.Name + " lacks " + want,
		Hint: "an admin makes one that has it: tailwater key create NAME --role " + string(roles[0]),
	}}
}

// GuardConfig is what a Guard needs.
type GuardConfig struct {
	Keys  *access.Keys // nil: authentication is off
	Audit Audit        // nil: nothing is recorded
	// Hosts are further names under which the server may be asked while
	// authentication is off; see Guard.
	Hosts []string
	Log   *slog.Logger // nil discards
}

// A Guard stands before all handlers but the page's files. With keys it lets nobody
// pass without one, and puts the principal into the request's context. Without keys
// it lets everybody pass who is not a browser on the errand of another site: neither
// one that sends (Origin, Sec-Fetch-Site), nor one that was told that its own name
// leads here (DNS rebinding: the Host that it asks for is then none of ours).
type Guard struct {
	cfg GuardConfig
}

// NewGuard makes a guard.
func NewGuard(cfg GuardConfig) *Guard {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Guard{cfg}
}

// secure sets the headers that keep an answer from being run, framed or read by
// another site. The page has a policy of its own.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// Wrap guards a handler.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if openPaths[r.URL.Path] {
			next.ServeHTTP(w, r.WithContext(access.With(r.Context(), &access.Principal{Name: anonymous})))
			return
		}
		if g.cfg.Keys == nil {
			if err := g.expected(r); err != nil {
				g.refuse(w, r, err)
				return
			}
			if r.URL.Path == sessionPath {
				reply(w)(map[string]string{"authentication": "off"}, nil)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		rec, own, began, whole := &watched{recorder{ResponseWriter: w}}, &note{}, time.Now(), false
		in, err := g.admit(r)
		r = r.WithContext(access.With(context.WithValue(r.Context(), noteKey{}, own), in.principal))
		if g.cfg.Audit != nil {
			defer func() { g.record(rec, r, in.principal, own, began, whole) }()
		}
		w.Header().Set("Cache-Control", "private") // a handler may say more
		switch {
		case err != nil:
			g.refuse(rec, r, err)
		case r.URL.Path == sessionPath:
			g.session(rec, r, in)
		default:
			next.ServeHTTP(rec, r)
		}
		whole = true
	})
}

// Ingest guards the handler that takes a stream's events.
func (g *Guard) Ingest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := require(r.Context(), []access.Role{access.Ingest})
		if name := r.PathValue("stream"); err == nil && !access.From(r.Context()).Sees(name) {
			err = &statusError{http.StatusNotFound, &Refusal{Code: "unknown_stream", Message: "there is no stream " + strconv.Quote(name)}}
		}
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A watched response tells the audit log what became of it.
type watched struct{ recorder }

// Flush is looked for by the compressor.
func (w *watched) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (g *Guard) record(w *watched, r *http.Request, p *access.Principal, n *note, began time.Time, whole bool) {
	e := AuditEntry{
		Time: began, RequestID: w.Header().Get(headerRequestID), Protocol: "http", Remote: r.RemoteAddr,
		Action: r.Pattern, Target: r.URL.Path, Statement: n.statement, Code: strconv.Itoa(w.status()), Rows: -1, Elapsed: time.Since(began),
	}
	if p != nil {
		e.Principal = p.Name
	}
	if !strings.HasPrefix(e.Action, r.Method+" ") {
		e.Action = r.Method + " " + e.Action // no route, or one of every method
	}
	if rows, err := strconv.ParseInt(w.Header().Get(headerRows), 10, 64); err == nil {
		e.Rows = rows
	}
	switch code := w.status(); {
	case !whole:
		e.Outcome = OutcomeAborted
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Outcome = OutcomeDenied
	case code >= 400:
		e.Outcome = OutcomeFailed
	default:
		e.Outcome = OutcomeOK
	}
	g.cfg.Audit.Record(e)
}

// refuse answers with an error of the guard.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f, _ := failureOf(err)
	if f.status == http.StatusUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="tailwater"`)
		// A browser would cover the page's own form with its dialog.
		if r.Header.Get("Sec-Fetch-Mode") == "" {
			w.Header().Add("WWW-Authenticate", `Basic realm="tailwater", charset="UTF-8"`)
		}
		if _, err := r.Cookie(sessionCookie); err == nil {
			endSession(w, r)
		}
	}
	g.cfg.Log.Info("request refused", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "status", f.status, "code", f.code, "error", err.Error())
	writeFailure(w, f)
}

// A pass is what a request was let in with.
type pass struct {
	principal *access.Principal
	secret    string // if one was shown; a session has none
}

// nobody is the principal of a request that was not let in: it may nothing.
var nobody = &access.Principal{}

// admit finds out who asks. A browser sends cookies, and passwords that it was once
// told, with whatever any site has it ask: such requests must come from our own page.
func (g *Guard) admit(r *http.Request) (pass, error) {
	header := r.Header.Get("Authorization")
	cookie, noCookie := r.Cookie(sessionCookie)
	var in pass
	var err error
	switch {
	case header != "":
		scheme, rest, _ := strings.Cut(header, " ")
		in.secret = strings.TrimSpace(rest)
		if strings.EqualFold(scheme, "Basic") {
			user, password, _ := r.BasicAuth()
			if in.secret = password; password == "" {
				in.secret = user // as in curl -u KEY:
			}
			if crossOrigin(r) {
				return pass{principal: nobody}, refuseOrigin(r)
			}
		}
		in.principal, err = g.cfg.Keys.Authenticate(in.secret)
	case r.URL.Path == sessionPath && r.Method == http.MethodPost:
		if !sameOrigin(r) {
			return pass{principal: nobody}, refuseOrigin(r)
		}
		if in.secret, err = shownKey(r); err != nil {
			return pass{principal: nobody}, err
		}
		in.principal, err = g.cfg.Keys.Authenticate(in.secret)
	case noCookie == nil:
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead
		if crossOrigin(r) || !safe && !sameOrigin(r) {
			return pass{principal: nobody}, refuseOrigin(r)
		}
		in.principal, err = g.cfg.Keys.Resume(cookie.Value)
	default:
		err = errors.New("this needs a key")
	}
	if err != nil {
		return pass{principal: nobody}, &statusError{http.StatusUnauthorized, &Refusal{
			Code: "unauthenticated", Message: err.Error(), Hint: "send a key: Authorization: Bearer KEY; the command line takes --key-file or TAILWATER_KEY",
		}}
	}
	return in, nil
}

// expected refuses what a browser does on the errand of another site, for a server
// without authentication.
func (g *Guard) expected(r *http.Request) error {
	if !g.ourName(r.Host) {
		return &statusError{http.StatusMisdirectedRequest, &Refusal{
			Code: "unknown_host", Message: "this server does not go by the name " + strconv.Quote(r.Host) + ", and without authentication it answers to its own names only",
			Hint: "name it with --http-hosts, or switch authentication on",
		}}
	}
	if crossOrigin(r) {
		return refuseOrigin(r)
	}
	return nil
}

// ourName reports whether a host is one that no other site can have made lead here:
// an address, a name of this machine or of the network around it, or one of ours.
func (g *Guard) ourName(host string) bool {
	name := host
	if only, _, err := net.SplitHostPort(host); err == nil {
		name = only
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return net.ParseIP(strings.Trim(name, "[]")) != nil || !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") || slices.Contains(g.cfg.Hosts, name)
}

// crossOrigin reports whether a browser says that another site makes it ask. A link
// that leads here is no more than that.
func crossOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		return r.Header.Get("Origin") != "" && !sameOrigin(r)
	}
	return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// sameOrigin reports whether a browser says that our own page asks.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

func refuseOrigin(r *http.Request) error {
	return &statusError{http.StatusForbidden, &Refusal{
		Code: "cross_origin", Message: "a browser asks on behalf of another site, or does not say of which",
		Hint: "programs send the key as Authorization: Bearer KEY, which no other site can",
	}}
}

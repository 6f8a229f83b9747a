package serving

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/internal/access"
)

// An entity tag names the request, the format, the cut and the views' definitions. It is weak: at one cut the
// rows are the same, but the order of rows that are in none, the last bits of sums of
// doubles, head and statistics may differ. The salt makes it a tag of this process
// alone: definitions are counted anew after a restart, and positions whose events a log lost are
// given out again. It is of one principal, so that it tells nobody of answers that he
// may not see.

func newSalt() string { return rand.Text() }

// entityTag gives the tag of the answer to a request at a cut.
func (s *server) entityTag(r *http.Request, format int, cut event.Cut, redefined uint64) string {
	h, who := sha256.New(), ""
	if p := access.From(r.Context()); p != nil {
		who = fmt.Sprintf("%q %q", p.Name, p.Tables)
	}
	for _, part := range []string{s.salt, who, r.URL.Path, r.URL.Query().Encode(), formats[format].mediaType, cut.String(), strconv.FormatUint(redefined, 10)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return `W/"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15]) + `"`
}

// tag gives a whole answer its tag. Its client must ask each time, and may be told
// that nothing changed.
func (s *server) tag(w http.ResponseWriter, r *http.Request, format int, a *Answer) {
	w.Header().Set("Cache-Control", "private, no-cache")
	if r.Method == http.MethodGet && a.Complete && a.Repeatable {
		w.Header().Set("ETag", s.entityTag(r, format, a.Cut, a.Redefined))
	}
}

// unchanged answers 304, without a query, if the client's tag is that of an answer at
// the present cut, or at the one that is asked for.
func (s *server) unchanged(w http.ResponseWriter, r *http.Request, format int, at event.Cut) bool {
	known := r.Header.Get("If-None-Match")
	if known == "" || r.Method != http.MethodGet {
		return false
	}
	cut, redefined := at, s.q.Redefined()
	if cut == nil {
		var err error
		if cut, err = s.q.Cut(r.Context()); err != nil {
			return false // the query will say it better
		}
	}
	tag := s.entityTag(r, format, cut, redefined)
	for _, candidate := range strings.Split(known, ",") {
		if strings.TrimPrefix(strings.TrimSpace(candidate), "W/") == strings.TrimPrefix(tag, "W/") {
			h := w.Header()
			h.Set("ETag", tag)
			h.Set("Cache-Control", "private, no-cache")
			h.Add("Vary", "Accept")
			h.Set(headerCut, cut.String())
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

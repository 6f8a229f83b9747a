// Package ui is the page at /: plain modules and styles, committed as they are
// served, so that a browser without a network beyond this server shows all of it.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/tailwater/tailwater/internal/problem"
)

//go:embed index.html assets
var files embed.FS

// policy keeps the page to this server: no other host, no inline script, no frame
// around it. An event's text can thus never become code, whatever a panel forgets.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// contentTypes are told here, and not by the machine's mime tables.
var contentTypes = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".woff2": "font/woff2",
	".txt":   "text/plain; charset=utf-8",
}

// An asset is a file with the headers that never change.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page at / and its files below /assets/. It needs nothing of
// the server behind it, and so can be shown while that one still starts.
func Handler() http.Handler {
	assets := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		contentType, known := contentTypes[path.Ext(name)]
		if !known {
			return fmt.Errorf("%s: no content type for this extension", name)
		}
		sum := sha256.Sum256(body)
		at := "/" + name
		if name == "index.html" {
			at = "/"
		}
		assets[at] = asset{body, contentType, `"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	if err != nil {
		panic("serving/ui: " + err.Error()) // only for files that were built in wrongly
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		a, ok := assets[r.URL.Path]
		if !ok {
			problem.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "the page has no such file", Hint: "the page is at /"}.Write(w)
			return
		}
		header.Set("Content-Type", a.contentType)
		header.Set("Content-Security-Policy", policy)
		header.Set("Referrer-Policy", "no-referrer")
		// Asked for each time and mostly answered with 304: after an upgrade no
		// browser mixes old modules with new ones.
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", a.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}

package serving

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tailwater/tailwater/event"
)

// pageRowsMax is the greatest limit with which an answer is a page, which has a cursor
// of the next one: a page is held in memory until its last row is known.
const pageRowsMax = 100_000

// A cursor says where the next page begins. Clients take it for opaque.
type cursor struct {
	Cut     string    `json:"c"` // of the first page: all pages are of one cut
	Request string    `json:"r"` // for which it is good
	Values  []*string `json:"v"` // of the last row, in the order of the answer
}

// unpaged are the parameters that may differ from page to page.
var unpaged = []string{"cursor", "limit", "offset", "after", "at", "timeout"}

// requestName is short, and differs where the rows or their order do.
func requestName(view string, values url.Values) string {
	rest := url.Values{}
	for name, v := range values {
		if !slices.Contains(unpaged, name) {
			rest[name] = v
		}
	}
	sum := sha256.Sum256([]byte(view + "?" + rest.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func parseCursor(values url.Values, request *ViewRequest) error {
	bad := func(why string) error {
		return &Refusal{Code: "bad_cursor", Message: "parameter cursor: " + why, Hint: "take it from next of the page before, and leave the other parameters as they were"}
	}
	for _, name := range []string{"offset", "at"} {
		if values.Has(name) {
			return bad("it stands for " + name + " too: leave that out")
		}
	}
	if !request.Filter.Paged {
		return bad("a page needs a limit")
	}
	var c cursor
	text, err := base64.RawURLEncoding.DecodeString(values.Get("cursor"))
	if err != nil || json.Unmarshal(text, &c) != nil || len(c.Values) > 1000 {
		return bad("this is none")
	}
	if c.Request != requestName(request.Name, values) {
		return bad("it belongs to another request")
	}
	if request.At, err = event.ParseCut(c.Cut); err != nil && c.Cut != "" {
		return bad("this is none")
	}
	request.Filter.Cursor = append([]*string{}, c.Values...)
	return nil
}

// ofCursor words what went wrong with the cut of a cursor.
func ofCursor(request ViewRequest, err error) error {
	if request.Filter.Cursor == nil || !errors.Is(err, ErrPositionLost) {
		return err
	}
	return &statusError{http.StatusGone, &Refusal{Code: "cursor_lost", Message: "the cut of the first page can be given no more", Hint: "ask for the first page again, without cursor"}}
}

// page takes at most limit rows of an answer that may have one more, and leaves in
// it the cursor of what follows.
func page(ctx context.Context, a *Answer, limit int, view string, values url.Values) error {
	own := len(a.Columns) - a.Ordering
	a.Columns = a.Columns[:own]
	var kept []arrow.RecordBatch
	var last arrow.RecordBatch // the one row by which the next page is found
	rows := 0
	for more := true; more; {
		batch, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n := int(batch.NumRows())
		if rows+n > limit {
			n, more = limit-rows, false
		}
		if n > 0 {
			last = batch.NewSlice(int64(n-1), int64(n))
			fields := batch.Schema().Fields()[:own]
			kept = append(kept, array.NewRecordBatch(arrow.NewSchema(fields, nil), batch.Columns()[:own], batch.NumRows()).NewSlice(0, int64(n)))
		}
		rows += n
		if !more && last != nil {
			c := cursor{Cut: a.Cut.String(), Request: requestName(view, values)}
			for _, column := range last.Columns()[own:] {
				c.Values = append(c.Values, textAt(column))
			}
			text, err := json.Marshal(c)
			if err != nil {
				return err
			}
			a.Following = base64.RawURLEncoding.EncodeToString(text)
		}
	}
	a.Reuse = nil
	a.Next = func(context.Context) (arrow.RecordBatch, error) {
		if len(kept) == 0 {
			return nil, io.EOF
		}
		batch := kept[0]
		kept = kept[1:]
		return batch, nil
	}
	return nil
}

// textAt gives the first value of a column of texts.
func textAt(column arrow.Array) *string {
	texts, ok := column.(*array.String)
	if !ok || texts.IsNull(0) {
		return nil
	}
	text := texts.Value(0)
	return &text
}

// followingURL is the address of the next page.
func followingURL(at *url.URL, cursor string) string {
	values := at.Query()
	for _, name := range []string{"offset", "after", "at"} {
		values.Del(name)
	}
	values.Set("cursor", cursor)
	return at.EscapedPath() + "?" + values.Encode()
}

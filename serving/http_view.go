package serving

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/view"
)

// viewParameters are those of a view's rows.
var viewParameters = []string{"from", "to", "where.", "isnull", "notnull", "by", "fill", "top", "of", "per",
	"order", "limit", "offset", "cursor", "at", "after", "timeout"}

func (s *server) view(w http.ResponseWriter, r *http.Request) error {
	started := time.Now()
	format, err := formatOf(r)
	if err != nil {
		return err
	}
	request, err := parseViewRequest(r.PathValue("view"), r.URL.Query())
	if err != nil {
		return err
	}
	limit := request.Filter.Limit
	if request.Filter.Paged {
		request.Filter.Limit++ // whether there is a row behind the page
	}
	if s.unchanged(w, r, format, request.At) {
		return nil
	}
	answer, err := s.q.View(r.Context(), request)
	if err != nil {
		return ofCursor(request, err)
	}
	if request.Filter.Paged {
		if err := page(r.Context(), answer, limit, r.PathValue("view"), r.URL.Query()); err != nil {
			answer.Close()
			return err
		}
		if answer.Following != "" {
			w.Header().Set("Link", "<"+followingURL(r.URL, answer.Following)+`>; rel="next"`)
		}
	}
	s.tag(w, r, format, answer)
	return s.answer(w, r, answer, format, started)
}

// parseViewRequest reads the parameters of a view.
func parseViewRequest(name string, values url.Values) (ViewRequest, error) {
	request := ViewRequest{Name: name}
	if err := checkParameters(values, viewParameters); err != nil {
		return request, err
	}
	f := &request.Filter
	err := parseRange(values, f)
	if err != nil {
		return request, err
	}
	if err := parseShape(values, f); err != nil {
		return request, err
	}
	if f.Limit, err = parseCount(values, "limit", 1); err != nil {
		return request, err
	}
	if f.Offset, err = parseCount(values, "offset", 0); err != nil {
		return request, err
	}
	f.Paged = f.Limit > 0 && f.Limit <= pageRowsMax
	if request.At, err = parseCut(values.Get("at")); err != nil {
		return request, err
	}
	if values.Has("cursor") {
		if err := parseCursor(values, &request); err != nil {
			return request, err
		}
	}
	request.After, err = parseAfter(values.Get("after"))
	return request, err
}

// parseShape reads by, fill, top and order.
func parseShape(values url.Values, f *view.Filter) error {
	if values.Has("by") {
		f.By = []view.Group{} // by= alone makes one row of all
		for _, text := range listed(values["by"]) {
			g, err := view.ParseGroup(text)
			if err != nil {
				return badParameter("by", "%v", err)
			}
			f.By = append(f.By, g)
		}
	}
	if values.Has("fill") {
		f.Fill = view.Fill(values.Get("fill"))
		if !slices.Contains(view.Fills, f.Fill) {
			return badParameter("fill", "want null, 0, previous or linear")
		}
	}
	f.Order = listed(values["order"])
	if !values.Has("top") {
		for _, name := range []string{"of", "per"} {
			if values.Has(name) {
				return badParameter(name, "belongs to top, as in top=10&of=COLUMN")
			}
		}
		return nil
	}
	n, err := parseCount(values, "top", 1)
	if err != nil {
		return err
	}
	if values.Get("of") == "" {
		return badParameter("top", "needs of=COLUMN, by which rows are the top ones")
	}
	f.Top = &view.Top{Rows: n, Of: values.Get("of"), Per: listed(values["per"])}
	return nil
}

// listed splits lists at their commas.
func listed(lists []string) (out []string) {
	for _, list := range lists {
		for _, word := range strings.Split(list, ",") {
			if word = strings.TrimSpace(word); word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

// comparisons are the ends of where.KEY.… that make it a range.
var comparisons = map[string]string{".gte": ">=", ".gt": ">", ".lte": "<=", ".lt": "<", ".ne": "<>"}

// parseRange reads the parameters that narrow a view to windows and keys.
func parseRange(values url.Values, f *view.Filter) (err error) {
	if f.From, err = parseTime(values, "from"); err != nil {
		return err
	}
	if f.To, err = parseTime(values, "to"); err != nil {
		return err
	}
	if f.From != nil && f.To != nil && f.To.Before(*f.From) {
		return badParameter("to", "is before from")
	}
	for _, name := range sortedKeys(values) {
		key, isKey := strings.CutPrefix(name, "where.")
		if !isKey {
			continue
		}
		given := values[name]
		end := ""
		if dot := strings.LastIndexByte(key, '.'); dot > 0 && comparisons[key[dot:]] != "" {
			key, end = key[:dot], key[dot:]
		}
		switch {
		case end != "":
			for _, v := range given {
				f.Bounds = append(f.Bounds, view.Bound{Key: key, Op: comparisons[end], Value: v})
			}
		case len(given) == 1:
			f.Where = append(f.Where, view.Equal{Key: key, Value: given[0]})
		default:
			f.Among = append(f.Among, view.Among{Key: key, Values: given})
		}
	}
	for _, key := range listed(values["isnull"]) {
		f.Where = append(f.Where, view.Equal{Key: key, Null: true})
	}
	for _, key := range listed(values["notnull"]) {
		f.Bounds = append(f.Bounds, view.Bound{Key: key, Op: view.NotNull})
	}
	return nil
}

func parseCut(text string) (event.Cut, error) {
	if text == "" {
		return nil, nil
	}
	cut, err := event.ParseCut(text)
	if err != nil {
		return nil, &Refusal{Code: "bad_position", Message: err.Error()}
	}
	return cut, nil
}

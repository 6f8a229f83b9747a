package serving

import "net/http"

// apply redefines the views; the answer comes when that is done.
func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r, "dry_run"); err != nil {
		return err
	}
	dryRun, err := parseFlag(r.URL.Query(), "dry_run")
	if err != nil {
		return err
	}
	return reply(w)(s.q.Apply(r.Context(), dryRun))
}

func (s *server) applying(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	return reply(w)(s.q.Applying(r.Context()))
}

func (s *server) history(w http.ResponseWriter, r *http.Request) error {
	if err := noParameters(r); err != nil {
		return err
	}
	return reply(w)(s.q.History(r.Context(), r.PathValue("view")))
}

package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/openapitest"
)

func TestTheProgramAnswersAsItsOpenAPIDocumentSays(t *testing.T) {
	project := worldFolder(t)
	putFile(t, filepath.Join(project, "queries", "of_merchant.sql"), "-- param: merchant VARCHAR\n-- param: least DECIMAL(10,2) = 0\n"+
		"SELECT merchant, count(*) AS n FROM payments WHERE merchant = $merchant AND amount >= $least GROUP BY merchant\n")
	p := startReady(t, project, t.TempDir(), nil, quiet...)
	after := p.mustPost("payments", payments("a", 200)).Position
	p.call(http.MethodPost, "/v1/batch/run", nil).must(t)
	event := strings.TrimSpace(payment("one", 3, "acme", 7, "1"))
	e := openapitest.Exerciser{Base: p.url, Client: http.DefaultClient, Examples: openapitest.Examples{
		Names: map[string]string{"view": "hourly", "stream": "payments", "query": "of_merchant", "key": "grafana"},
		Values: map[string]string{"after": after, "at": "payments/1/0:1", "isnull": "merchant", "notnull": "merchant", "of": "n", "per": "merchant", "order": "-n", "p1": "1", "p.NAME": "1",
			"where.merchant": "acme", "merchant": "acme"},
		Bodies: map[string]string{"/v1/queries/{query}": `{"merchant": "acme"}`, "/v1/queries/of_merchant": `{"merchant": "acme", "least": 1.5}`,
			"/v1/streams/{stream}/events": event, "/v1/streams/payments/events": event},
	}}
	wrong, err := e.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
	t.Logf("%d requests, %d with success", e.Requests, e.Successes)
	if e.Successes < 60 {
		t.Error("those are few")
	}
}

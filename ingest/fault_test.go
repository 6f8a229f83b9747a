//go:build failpoints

package ingest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tailwater/tailwater/internal/fault"
)

// TestLostAnswerLeavesTheEventsStored fails between the log's acknowledgement
// and the client's answer: the client must not read that as "nothing stored".
func TestLostAnswerLeavesTheEventsStored(t *testing.T) {
	defer fault.Disarm()
	fault.Arm(fault.AfterLogAck, fault.Error, 0, 1)
	log := &memLog{stream: "orders"}
	h, err := NewHandler(map[string]Target{"orders": {Schema: orders(), Publisher: log}}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/streams/orders/events", strings.NewReader(`{"id":1}`)))
	if rows, _ := log.stored(); w.Code != 500 || rows != 1 || !strings.Contains(w.Body.String(), `"position":"orders/1/0/1"`) {
		t.Errorf("%d %s with %d rows stored", w.Code, w.Body, rows)
	}
}

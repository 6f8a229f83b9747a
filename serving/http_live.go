package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

// Times of a live stream. A comment keeps proxies, which close what is silent for
// a minute, from taking the connection for dead.
const (
	liveEvery     = 250 * time.Millisecond
	liveEveryMin  = 50 * time.Millisecond
	liveEveryMax  = time.Minute
	liveHeartbeat = 15 * time.Second
	liveWriteTime = 10 * time.Second // for one event, until the client counts as gone
)

// live follows a view as server-sent events (WHATWG HTML, 9.2): "snapshot" with all
// rows, first and after each batch run that moved the view, and "change" with the
// rows that changed in between. An error before the first event is answered as any
// other; later the stream just ends, and a client that asks again is told why.
func (s *server) live(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	if err := checkParameters(values, []string{"from", "to", "where.", "isnull", "notnull", "every"}); err != nil {
		return err
	}
	request := LiveRequest{Name: r.PathValue("view")}
	if err := parseRange(values, &request.Filter); err != nil {
		return err
	}
	every, err := parseDuration(values, "every", liveEvery, liveEveryMin, liveEveryMax)
	if err != nil {
		return err
	}
	leave, err := s.seats.Acquire(r.Context())
	if err != nil {
		return fmt.Errorf("%w: %d clients follow live views, or this key's share of them", ErrTooMany, s.cfg.LiveClients)
	}
	defer leave()
	sub, err := s.q.Live(r.Context(), request)
	if err != nil {
		return err
	}
	defer sub.Close()
	first, err := sub.Next(r.Context())
	if err != nil {
		return err
	}
	s.clients.Inc()
	defer s.clients.Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")         // nginx would hold events back
	h.Set(gzhttp.HeaderNoCompression, "yes") // and so would the compressor
	s.follow(r.Context(), w, sub, first, every)
	return nil
}

// follow writes events until the client is gone, the feed ends or the server stops.
func (s *server) follow(ctx context.Context, w http.ResponseWriter, sub *Subscription, ev *LiveEvent, every time.Duration) {
	control := http.NewResponseController(w)
	write := func(text []byte) bool {
		// Not every writer has deadlines; one that has must not wait for ever for a
		// client that does not read.
		_ = control.SetWriteDeadline(time.Now().Add(liveWriteTime))
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	for {
		if !write(liveText(ev)) {
			return
		}
		rest := time.NewTimer(every)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return
		}
		for ev = nil; ev == nil; {
			wait, cancel := context.WithTimeout(ctx, liveHeartbeat)
			next, err := sub.Next(wait)
			cancel()
			switch {
			case s.ended(ctx): // a stream has no end of its own, but its key may have
				return
			case err == nil:
				ev = next
			case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || !write([]byte(":\n\n")):
				return
			}
		}
	}
}

// liveText writes one event.
func liveText(ev *LiveEvent) []byte {
	kind := "change"
	if ev.Snapshot {
		kind = "snapshot"
	}
	buf := fmt.Appendf(nil, "id: %s\nevent: %s\ndata: {", ev.Cut, kind)
	if ev.Snapshot {
		buf = append(appendString(append(buf, `"view":`...), []byte(ev.View)), ',')
		buf = append(appendMeta(buf, ev.Columns), ',')
	}
	buf = append(buf, `"rows":[`...)
	for i, row := range ev.Rows {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, row...)
	}
	buf = fmt.Appendf(buf, `],"complete":%t,"cut":%s,"batched":%s,"head":%s,"batched_watermark":`, ev.Complete, cutJSON(ev.Cut), cutJSON(ev.Batched), cutJSON(ev.Head))
	if ev.BatchedWatermark == nil {
		buf = append(buf, "null"...)
	} else {
		buf = append(ev.BatchedWatermark.AppendFormat(append(buf, '"'), timeLayout), '"')
	}
	buf = appendWatermark(append(buf, `,"watermark":`...), ev.Watermark)
	return append(buf, "}\n\n"...)
}

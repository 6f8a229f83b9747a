package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/tailwater/tailwater/stream"
)

// measureFreshness sends an event and asks for it at once, again and again, while
// others send in the background, files land and batches run.
func measureFreshness(ctx context.Context, b *bench) error {
	for _, rate := range b.sizes.backgrounds {
		name := fmt.Sprintf("freshness/%dk", rate/1000)
		if !b.wants(name) {
			continue
		}
		if err := b.freshnessAt(ctx, name, rate); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// sliceTime is the longest that background events are held back to be sent together.
const sliceTime = 10 * time.Millisecond

// background is a steady load in slices.
func background(addr string, rate int, number uint64) *load {
	rows := rate * int(sliceTime/time.Millisecond) / 1000
	return &load{addr: addr, clients: 4, rows: rows, rate: float64(rate), number: number}
}

// A freshness is what the probes saw, ms.
type freshness struct {
	whole, sent, asked []float64 // send → seen, of it send → acknowledged, and ask → answer
	serverCPU, others  float64
	background         float64 // events a second that were sent beside
}

func (b *bench) freshnessAt(ctx context.Context, name string, rate int) error {
	limit, err := b.freshnessLimit(ctx)
	if err != nil {
		return err
	}
	b.progress.say("%s", name)
	f, err := b.probeFreshness(ctx, rate, 2)
	if err != nil {
		return err
	}
	p50 := Result{Name: name + "/p50", Value: quantile(f.whole, 0.5), Unit: "ms", Limit: quantile(limit, 0.5), ServerCPU: f.serverCPU,
		LimitIs: "one synced append to the log and two bare HTTP requests, without background",
		More:    append(append(latencies("ack_", f.sent), latencies("answer_", f.asked)...), Figure{"background_events_per_s", f.background}, Figure{"others_cores", f.others})}
	p99 := Result{Name: name + "/p99", Value: quantile(f.whole, 0.99), Unit: "ms", Limit: quantile(limit, 0.99), ServerCPU: f.serverCPU,
		LimitIs: p50.LimitIs, More: latencies("", f.whole)[2:]}
	if rate == 10_000 {
		p50.Target, p99.Target = atMost(10), atMost(40)
		if f.background < 0.95*float64(rate) {
			p50.Target.Broken, p99.Target.Broken = "the background was slower", "the background was slower"
		}
	}
	b.add(p50)
	b.add(p99)
	return nil
}

// probeFreshness probes a server with so many views.
func (b *bench) probeFreshness(ctx context.Context, rate, views int) (f freshness, err error) {
	dir, remove, err := b.scratch("freshness")
	if err != nil {
		return f, err
	}
	defer remove()
	if err := writeProject(dir, true, false); err != nil {
		return f, err
	}
	if err := writeViews(dir, definitions(views)); err != nil {
		return f, err
	}
	p, err := b.serve(ctx, dir, dir+"/data", "--land-age", "5s", "--batch-schedule", "@every "+b.sizes.batchEvery.String())
	if err != nil {
		return f, err
	}
	defer p.kill()
	l := background(p.addr, rate, 1)
	if err := l.open(); err != nil {
		return f, err
	}
	l.start(ctx)
	defer func() {
		_, ended := l.finish()
		err = errors.Join(err, ended)
	}()
	if err := pause(ctx, b.sizes.warm); err != nil {
		return f, err
	}
	used, err := p.cpu()
	if err != nil {
		return f, err
	}
	others, events, began := othersCPU(used, selfCPU()), l.accepted.Load(), time.Now()
	if err := b.probe(ctx, p.addr, &f); err != nil {
		return f, fmt.Errorf("%w\n%s", err, p.output())
	}
	seconds := time.Since(began).Seconds()
	now, err := p.cpu()
	if err != nil {
		return f, err
	}
	sent := float64(l.accepted.Load() - events)
	f.serverCPU = usPerEvent(now-used, sent)
	f.others = (othersCPU(now, selfCPU()) - others).Seconds() / seconds
	f.background = sent / seconds
	return f, nil
}

// probe collects samples until there are enough and batches have run beside them.
func (b *bench) probe(ctx context.Context, addr string, f *freshness) error {
	const key = "merchant-999999" // of no other event
	event := newBody(1, 2, 0)
	at := bytes.Index(event.text, []byte(`"merchant":"`)) + len(`"merchant":"`)
	copy(event.text[at:], key)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	random := rand.New(rand.NewPCG(1, 1))
	began := time.Now()
	for n := 1; ; n++ {
		// An odd pause, so that probes meet every phase of the background's slices.
		if err := pause(ctx, time.Duration(1000+random.IntN(8000))*time.Microsecond); err != nil {
			return err
		}
		if took := time.Since(began); n > b.sizes.samples && took > b.sizes.probeFor || took > 2*b.sizes.probeFor {
			return nil
		}
		event.renew(uint64(n), time.Now())
		sent := time.Now()
		var posted struct{ Position string }
		if err := ask(ctx, client, http.MethodPost, "http://"+addr+"/v1/streams/payments/events", event.text, &posted); err != nil {
			return err
		}
		acked := time.Now()
		var seen struct {
			Complete bool
			Data     []struct{ Payments int }
		}
		if err := ask(ctx, client, http.MethodGet, "http://"+addr+"/v1/views/revenue?where.merchant="+key+"&after="+url.QueryEscape(posted.Position), nil, &seen); err != nil {
			return err
		}
		answered := time.Now()
		sum := 0
		for _, row := range seen.Data {
			sum += row.Payments
		}
		if sum != n || !seen.Complete {
			return fmt.Errorf("the view counts %d of %d own events (complete: %v)", sum, n, seen.Complete)
		}
		f.whole, f.sent, f.asked = append(f.whole, ms(answered.Sub(sent))), append(f.sent, ms(acked.Sub(sent))), append(f.asked, ms(answered.Sub(acked)))
	}
}

// ask makes a request and decodes its JSON answer, if into is not nil.
func ask(ctx context.Context, client *http.Client, method, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// freshnessLimit is what nobody can do without: two requests, and one sync.
func (b *bench) freshnessLimit(ctx context.Context) (took []float64, err error) {
	dir, remove, err := b.scratch("limit")
	if err != nil {
		return nil, err
	}
	defer remove()
	p, err := b.child(ctx, nullServer, dir)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	broker, err := stream.OpenBroker(ctx, stream.BrokerConfig{StoreDir: dir})
	if err != nil {
		return nil, err
	}
	defer broker.Close()
	log, err := broker.Log(ctx, "raw", 1<<40)
	if err != nil {
		return nil, err
	}
	data, err := envelope(1)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	event := newBody(1, 0, 0)
	for range b.sizes.samples {
		began := time.Now()
		if err := ask(ctx, client, http.MethodPost, "http://"+p.addr+"/v1/streams/payments/events", event.text, nil); err != nil {
			return nil, err
		}
		if err := appendOne(ctx, log, data); err != nil {
			return nil, err
		}
		if err := ask(ctx, client, http.MethodGet, "http://"+p.addr+"/", nil, nil); err != nil {
			return nil, err
		}
		took = append(took, ms(time.Since(began)))
	}
	return took, nil
}

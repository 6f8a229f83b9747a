package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"

	"github.com/tailwater/tailwater/event"
	"github.com/tailwater/tailwater/ingest"
	"github.com/tailwater/tailwater/stream"
)

// childVariable makes this program one of the servers that it compares with; they
// are processes of their own so that the client's CPU time can be told from theirs.
const childVariable = "TAILWATER_BENCH_CHILD"

// The servers. Each keeps its data in the directory after the colon.
const (
	nullServer = "null:" // reads and discards
	pathServer = "path:" // decodes and appends to the log, and does nothing with it then
)

// child starts one of the servers.
func (b *bench) child(ctx context.Context, kind, dir string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+kind+dir)
	return startProcess(ctx, cmd)
}

// serveChild is the server's process; it ends by being killed.
func serveChild(ctx context.Context, what string, stderr io.Writer) error {
	kind, dir := what[:len(nullServer)], what[len(nullServer):]
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "{}\n")
	})
	if kind == pathServer {
		var err error
		if handler, err = ingestPath(ctx, dir); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "http=http://%s\n", listener.Addr())
	mux := http.NewServeMux()
	mux.Handle("/v1/streams/{stream}/events", handler)
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	return http.Serve(listener, mux)
}

// ingestPath is the server's own way from a request to the log, without what
// reads the log.
func ingestPath(ctx context.Context, dir string) (http.Handler, error) {
	broker, err := stream.OpenBroker(ctx, stream.BrokerConfig{StoreDir: dir})
	if err != nil {
		return nil, err
	}
	schema := payments()
	log, err := broker.Log(ctx, schema.Stream, 1<<40)
	if err != nil {
		return nil, err
	}
	publisher := stream.NewPublisher(log, schema, event.Source{Stream: schema.Stream, Epoch: 1}, stream.PublisherConfig{})
	go publisher.Run(ctx)
	return ingest.NewHandler(map[string]ingest.Target{schema.Stream: {Schema: schema, Publisher: publisher}}, ingest.Config{})
}

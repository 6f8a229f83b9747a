# make run     the demo: a project of payments that never end, everything embedded
# make test    all tests; sets up by itself what they need (under .tools/)
# make check   format, vet, staticcheck, race on what is quick, vulnerabilities
# make torture the kill test, 200 kills instead of 20
# make bench   the figures of docs/performance.md, half an hour (make bench BENCH=--quick: 4 minutes)

TOOLS := $(CURDIR)/.tools
PYTHON := $(TOOLS)/python/bin/python
TAGS := -tags failpoints
# Rooms whose tests are quick enough for the race detector.
RACE := ./event/... ./internal/config/... ./internal/fault/... ./ingest/... ./stream/... ./lake/... ./speed/... ./serving/...

export CGO_ENABLED = 1
export TAILWATER_TEST_MINIO = $(TOOLS)/minio
export TAILWATER_TEST_NATS = $(TOOLS)/nats-server
export TAILWATER_TEST_PYTHON = $(PYTHON)
export TAILWATER_TEST_BROWSER ?= $(TOOLS)/browser
export TAILWATER_TEST_PSQL ?= $(TOOLS)/psql
export TAILWATER_TEST_JDBC ?= $(TOOLS)/jdbc
# Where the tests leave pictures of the page.
export TAILWATER_TEST_ARTIFACTS ?= $(TOOLS)/artifacts

.PHONY: build run test check torture bench tools clean

build:
	go build -o bin/tailwater ./cmd/tailwater

run: build
	bin/tailwater demo

tools: $(TOOLS)/minio $(TOOLS)/nats-server $(PYTHON) $(TAILWATER_TEST_BROWSER) $(TAILWATER_TEST_PSQL) $(TAILWATER_TEST_JDBC)

# Real servers for the tests, built from pinned modules.
$(TOOLS)/minio: tools/minio/go.mod
	cd tools/minio && go build -o $@ github.com/minio/minio

$(TOOLS)/nats-server: go.mod
	go build -o $@ github.com/nats-io/nats-server/v2

# Another reader of the lake.
$(PYTHON): tools/requirements.txt
	python3 -m venv $(TOOLS)/python
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r tools/requirements.txt
	touch $@

# A Chromium for the tests of the page: the system's, by a line that calls it. It
# may be gone again where this folder outlives the machine.
$(TOOLS)/browser: FORCE
	@mkdir -p $(TOOLS)
	@$@ --version >/dev/null 2>&1 || { path=$$(tools/browser) && printf '#!/bin/sh\nexec "%s" "$$@"\n' "$$path" > $@.new && chmod +x $@.new && mv $@.new $@; }

# Clients of the Postgres protocol: the system's psql, and Java with its driver.
$(TOOLS)/psql: FORCE
	@mkdir -p $(TOOLS)
	@$@ --version >/dev/null 2>&1 || { path=$$(tools/psql) && printf '#!/bin/sh\nexec "%s" "$$@"\n' "$$path" > $@.new && chmod +x $@.new && mv $@.new $@; }

$(TOOLS)/jdbc: FORCE
	@{ $@ -version && javac -version; } >/dev/null 2>&1 || tools/jdbc $(TOOLS) >/dev/null

FORCE:

$(TOOLS)/staticcheck $(TOOLS)/govulncheck: tools/lint/go.mod
	cd tools/lint && go build -o $(TOOLS)/ honnef.co/go/tools/cmd/staticcheck golang.org/x/vuln/cmd/govulncheck

test: tools
	go test $(TAGS) -timeout 30m ./...

torture: tools
	TAILWATER_TEST_KILLS=200 go test $(TAGS) -timeout 60m -count=1 -v -run 'Kills' ./cmd/tailwater

bench: build
	go run ./bench $(BENCH)

check: $(TOOLS)/staticcheck $(TOOLS)/govulncheck tools
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these"; exit 1; }
	go vet ./... && go vet $(TAGS) ./...
	$(TOOLS)/staticcheck $(TAGS) ./...
	go test $(TAGS) -race -short -timeout 15m $(RACE)
	TAILWATER_TEST_OPERATIONS=600 go test $(TAGS) -race -timeout 5m -run AtAnyMoment ./cmd/tailwater
	tools/vulnerabilities $(TOOLS)/govulncheck

clean:
	rm -rf bin .tools tailwater-demo

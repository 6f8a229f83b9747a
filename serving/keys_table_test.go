package serving

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/lake"
)

// keysOn opens the keys of a lake; stop ends what runs, and leaves the lake.
func keysOn(t *testing.T, bucket lake.Bucket) (keys *access.Keys, stop func()) {
	t.Helper()
	l, err := lake.Open(t.Context(), bucket, lake.Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	table, err := l.Table(t.Context(), KeysSchema())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.OpenEpoch(t.Context(), KeysSource, lake.Mark{}); err != nil {
		t.Fatal(err)
	}
	lander, err := lake.NewLander(table, lake.LanderConfig{SpoolDir: t.TempDir(), RetryMin: time.Millisecond, Landed: func(*lake.Snapshot) {}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := lander.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait(); lander.Close() })
	t.Cleanup(stop)
	keys, err = access.Open(t.Context(), access.Config{Store: NewKeysTable(table, lander), Admin: "0123456789abcdefghijklmn"})
	if err != nil {
		t.Fatal(err)
	}
	return keys, stop
}

func TestKeysSurviveTheLossOfEverythingButTheLake(t *testing.T) {
	bucket := lake.NewMemoryBucket()
	keys, stop := keysOn(t, bucket)
	secrets := map[string]string{}
	for _, key := range []access.Key{
		{Name: "all", Roles: []access.Role{access.Ingest, access.Query}},
		{Name: "scoped", Roles: []access.Role{access.Query}, Tables: []string{"daily", "payments_dead"}, Expires: time.Now().Add(time.Hour),
			Limits: access.Limits{Time: time.Second, Rows: 10, Bytes: 20, Memory: 100e6, Concurrency: 2, Queue: 3}},
		{Name: "revoked", Roles: []access.Role{access.Admin}},
	} {
		secret, _, err := keys.Create(t.Context(), "admin", key)
		if err != nil {
			t.Fatal(err)
		}
		secrets[key.Name] = secret
	}
	if _, err := keys.Revoke(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	want := keys.List()
	stop()

	keys, _ = keysOn(t, bucket)
	if got := keys.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for name, wantErr := range map[string]error{"all": nil, "scoped": nil, "revoked": access.ErrRevoked} {
		if _, err := keys.Authenticate(secrets[name]); !errors.Is(err, wantErr) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, _, err := keys.Create(t.Context(), "admin", access.Key{Name: "revoked", Roles: []access.Role{access.Query}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := keys.Authenticate(again); err != nil || p.May(access.Admin) {
		t.Errorf("%+v %v", p, err)
	}
}

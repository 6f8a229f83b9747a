package duckdb

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tailwater/tailwater/event"
)

// A watched batch tells with which priority it is read.
type watched struct {
	Batch
	nice *atomic.Int32
}

func (w watched) Column(i int) arrow.Array {
	p, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	w.nice.Store(int32(20 - p)) // the system call gives it so
	return w.Batch.Column(i)
}

func TestAPatientQueryIsComputedAtALowPriority(t *testing.T) {
	c := open(t, Options{Threads: 1})
	column := []event.Column{{Name: "n", Type: event.Type{Kind: event.BigInt}}}
	build := array.NewRecordBuilder(memory.DefaultAllocator, event.ArrowSchema(column))
	for i := range 2048 {
		build.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	p, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	ordinary := int32(20 - p)
	var nice atomic.Int32
	batches := make([]Batch, 500)
	for i := range batches {
		batches[i] = watched{RecordBatch(build.NewRecordBatch()), &nice}
	}
	h := Share(column)
	defer h.Close()
	h.Set(batches)
	for _, sql := range []string{"SELECT sum(n) AS s FROM ", "SELECT n FROM "} { // in one step of many, and as it is read
		for _, patient := range []bool{true, false} {
			pauses := 0
			c.Between(func(context.Context) (bool, error) { pauses++; return patient, nil })
			rows, err := c.Query(t.Context(), sql+h.SQL())
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = rows.Next(t.Context())
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			rows.Close()
			want := ordinary
			if patient {
				want = patientNice
			}
			if got := nice.Load(); got != want || pauses == 0 {
				t.Errorf("%s: patient %t, nice value %d after %d pauses", sql, patient, got, pauses)
			}
		}
	}
	ended := errors.New("its time has ended")
	c.Between(func(context.Context) (bool, error) { return true, ended })
	if _, err := c.Query(t.Context(), "SELECT sum(n) AS s FROM "+h.SQL()); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tailwater/tailwater/internal/duckdb"
)

// A machine is what the figures were measured on.
type machine struct {
	CPU       string  `json:"cpu"`
	Cores     int     `json:"cores"`
	MemoryGB  float64 `json:"memory_gb"`
	Kernel    string  `json:"kernel"`
	Go        string  `json:"go"`
	DuckDB    string  `json:"duckdb"`
	FsyncP50  float64 `json:"fsync_p50_ms"` // of 4 KB appended to a file of the data disk
	FsyncP99  float64 `json:"fsync_p99_ms"`
	Load1     string  `json:"load_1_minute"` // when the bench began: who else was busy
	WriteMBps float64 `json:"write_mb_per_second"`
}

// String describes the machine in a paragraph.
func (m machine) String() string {
	return fmt.Sprintf("%d × %s, %.0f GB, Linux %s, %s, DuckDB %s; an append of 4 KB with fsync takes %.2f ms (p50) and %.2f ms (p99), 1 MB with fsync runs at %.0f MB/s; load average before the run %s.",
		m.Cores, m.CPU, m.MemoryGB, m.Kernel, m.Go, m.DuckDB, m.FsyncP50, m.FsyncP99, m.WriteMBps, m.Load1)
}

func describeMachine(ctx context.Context, dir string) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: field("/proc/cpuinfo", "model name")}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return m, err
	}
	m.MemoryGB = float64(info.Totalram) * float64(info.Unit) / (1 << 30)
	m.Kernel = first("/proc/sys/kernel/osrelease")
	m.Load1 = first("/proc/loadavg")
	db, err := duckdb.Open(ctx, duckdb.Options{Threads: 1, Locked: true})
	if err != nil {
		return m, err
	}
	defer db.Close()
	conn, err := db.Connect()
	if err != nil {
		return m, err
	}
	defer conn.Close()
	rel, err := conn.Collect(ctx, "SELECT version() AS v")
	if err != nil {
		return m, err
	}
	m.DuckDB = fmt.Sprint(rel.Value(0, 0))
	small, err := appends(dir, 4<<10, 200)
	if err != nil {
		return m, err
	}
	large, err := appends(dir, 1<<20, 30)
	m.FsyncP50, m.FsyncP99 = quantile(small, 0.5), quantile(small, 0.99)
	m.WriteMBps = 1 / median(large) * 1e3
	return m, err
}

// appends times appends with fsync to a new file, ms.
func appends(dir string, bytes, times int) (took []float64, err error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	data := make([]byte, bytes)
	for range times {
		began := time.Now()
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, ms(time.Since(began)))
	}
	return took, nil
}

// field gives the value of the first line "name : value" of a file of /proc.
func field(path, name string) string {
	data, _ := os.ReadFile(path) // a machine without it has no name for it
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// first gives the first word of a file of /proc.
func first(path string) string {
	data, _ := os.ReadFile(path)
	if words := strings.Fields(string(data)); len(words) > 0 {
		return words[0]
	}
	return "unknown"
}

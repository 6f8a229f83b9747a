// Package access says who asks and what they may: principals, roles, the keys that
// prove them, and the server's certificate.
//
//	a key ──► Keys.Authenticate ──► *Principal ──► With(ctx) ──► From(ctx) wherever it matters
//
// A context without a principal is that of a server without authentication:
// everything is allowed. Whoever opens a listener with authentication on puts a
// principal into every context, or refuses.
package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Role is a set of things that a principal may do.
type Role string

// The roles. Query also lists streams, since one who asks has to know what there
// is; so does Ingest, since a sender has to know the columns.
const (
	Ingest  Role = "ingest"  // send events
	Query   Role = "query"   // views, SQL, live views, streams
	Operate Role = "operate" // status, metrics, batch runs
	Admin   Role = "admin"   // keys, and all of the above
)

// Roles are all roles, the least first.
var Roles = []Role{Ingest, Query, Operate, Admin}

// ParseRole reads a role's name.
func ParseRole(name string) (Role, error) {
	if r := Role(name); slices.Contains(Roles, r) {
		return r, nil
	}
	return "", fmt.Errorf("%q is no role; the roles are %s", name, JoinRoles(Roles))
}

// JoinRoles lists roles with commas.
func JoinRoles(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// Limits bound what one principal may take; 0 leaves it to the server's own limit.
type Limits struct {
	Time        time.Duration // of one query, its waiting included
	Rows        int64         // of one answer
	Bytes       int64         // of one answer
	Memory      int64         // of the engine, that its queries hold together, in bytes
	Concurrency int           // queries that run at once
	Queue       int           // queries that wait
}

// LeastMemory is the least limit of memory: below, an honest query cannot be told from
// the engine's own needs.
const LeastMemory = 16e6

// Within gives the limits where both are kept.
func (l Limits) Within(server Limits) Limits {
	return Limits{
		Time: least(l.Time, server.Time), Rows: least(l.Rows, server.Rows), Bytes: least(l.Bytes, server.Bytes), Memory: least(l.Memory, server.Memory),
		Concurrency: least(l.Concurrency, server.Concurrency), Queue: least(l.Queue, server.Queue),
	}
}

// least is the smaller of two limits, of which 0 is none.
func least[N cmp.Ordered](a, b N) N {
	var none N
	if a == none || b != none && b < a {
		return b
	}
	return a
}

// A Principal is who asks. It is never changed after it was made, so that many
// goroutines can hold it.
type Principal struct {
	Name  string
	Roles []Role
	// Tables are the streams, views and other tables that it may use, by their exact
	// names; nil stands for all. A stream among them may be sent to with the role
	// ingest, and read with the role query. Its dead letters are a table of their own.
	Tables []string
	Limits Limits
}

// May reports whether the principal has the role. No principal may everything.
func (p *Principal) May(r Role) bool {
	return p == nil || slices.Contains(p.Roles, r) || slices.Contains(p.Roles, Admin)
}

// Sees reports whether the table is within the principal's scope, whatever its roles.
func (p *Principal) Sees(table string) bool {
	return p == nil || p.Tables == nil || slices.Contains(p.Tables, table)
}

// Within gives the limits that hold for the principal on a server with these.
func (p *Principal) Within(server Limits) Limits {
	if p == nil {
		return server
	}
	return p.Limits.Within(server)
}

type contextKey struct{}

// With gives a context in which p asks.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From gives who asks; nil if authentication is off, and then everything is allowed.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(contextKey{}).(*Principal)
	return p
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tailwater/tailwater/internal/access"
	"github.com/tailwater/tailwater/internal/config"
)

// KeyCmd manages the keys of a server.
type KeyCmd struct {
	Create   KeyCreateCmd   `cmd:"" help:"Make a key, and print its secret: this once, nobody can show it again."`
	List     KeyListCmd     `cmd:"" help:"List the keys."`
	Revoke   KeyRevokeCmd   `cmd:"" help:"End a key, at once."`
	Generate KeyGenerateCmd `cmd:"" help:"Print a new secret for --admin-key-file. No server is asked."`
}

// Help is shown by --help.
func (c *KeyCmd) Help() string {
	return `All but generate need a key of the role admin: TAILWATER_KEY, or --key-file.

Examples:

    tailwater key generate > admin.key
    tailwater key create grafana --role query --table daily --key-file admin.key > grafana.key
    tailwater key list --key-file admin.key
    tailwater key revoke grafana --key-file admin.key`
}

// KeyCreateCmd makes a key.
type KeyCreateCmd struct {
	Name        string        `arg:"" help:"Its name: a-z, 0-9 and -; the user name for Postgres clients." placeholder:"NAME"`
	Role        []access.Role `help:"What it may: ingest, query, operate or admin; may be repeated." required:"" placeholder:"ROLE"`
	Table       []string      `help:"A stream, a view or another table that it may use; may be repeated. Without any, all." placeholder:"TABLE"`
	ExpiresIn   time.Duration `help:"How long it lives. Default: until it is revoked." placeholder:"DURATION"`
	Timeout     time.Duration `help:"Longest time of one of its queries." placeholder:"DURATION"`
	MaxRows     int64         `help:"Most rows of one of its answers." placeholder:"N"`
	MaxBytes    int64         `help:"Most bytes of one of its answers." placeholder:"N"`
	MaxMemory   config.Size   `help:"Most memory of the engine that its queries hold together, such as 100MB." placeholder:"SIZE"`
	Concurrency int           `help:"Queries that it may run at once." placeholder:"N"`
	Queue       int           `help:"Queries of it that may wait." placeholder:"N"`
	JSON        bool          `name:"json" help:"Print the key as JSON, its secret in it."`
	remote
}

// Help is shown by --help.
func (c *KeyCreateCmd) Help() string {
	return `The secret goes to standard output, what it stands for to standard error. Limits can only be tighter than the server's own.

Examples:

    tailwater key create sensors --role ingest --table readings --expires-in 8760h > sensors.key
    tailwater key create grafana --role query --timeout 10s --max-memory 200MB --json | jq -r .secret`
}

// A keyJSON is a key as the server shows it.
type keyJSON struct {
	Name    string           `json:"name"`
	Roles   []string         `json:"roles"`
	Tables  []string         `json:"tables"`
	Created string           `json:"created"`
	By      string           `json:"created_by"`
	Expires string           `json:"expires"`
	Revoked string           `json:"revoked"`
	Status  string           `json:"status"`
	Limits  map[string]int64 `json:"limits"`
	Secret  string           `json:"secret"`
}

// Run makes the key.
func (c *KeyCreateCmd) Run(ctx context.Context, out *output) error {
	fields := map[string]any{"name": c.Name, "roles": c.Role, "limits": map[string]int64{
		"timeout_ms": c.Timeout.Milliseconds(), "rows": c.MaxRows, "bytes": c.MaxBytes, "memory": int64(c.MaxMemory), "concurrency": int64(c.Concurrency), "queue": int64(c.Queue),
	}}
	if c.Table != nil {
		fields["tables"] = c.Table
	}
	if c.ExpiresIn != 0 {
		fields["expires_in"] = c.ExpiresIn.String()
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	var k keyJSON
	raw, err := c.getJSON(ctx, request{method: http.MethodPost, path: "/v1/keys", contentType: "application/json", body: body}, &k)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(raw)))
		return nil
	}
	fmt.Fprintln(out.out, printable(k.Secret))
	fmt.Fprintf(out.err, "key %s: %s; keep the secret, it is not shown again\n", printable(k.Name), printable(k.scope()))
	return nil
}

// scope says in words what a key may.
func (k *keyJSON) scope() string {
	tables, until := "all tables", "until it is revoked"
	if k.Tables != nil {
		tables = strings.Join(k.Tables, ", ")
	}
	if k.Expires != "" {
		until = "until " + k.Expires
	}
	return strings.Join(k.Roles, ", ") + " on " + tables + ", " + until
}

// KeyListCmd lists the keys.
type KeyListCmd struct {
	JSON bool `name:"json" help:"Print the keys as JSON."`
	remote
}

// Help is shown by --help.
func (c *KeyListCmd) Help() string {
	return `Examples:

    tailwater key list
    tailwater key list --json | jq -r '.keys[] | select(.status == "active") | .name'`
}

// Run lists the keys, those that have ended too.
func (c *KeyListCmd) Run(ctx context.Context, out *output) error {
	var list struct {
		Keys []keyJSON `json:"keys"`
	}
	raw, err := c.getJSON(ctx, request{method: http.MethodGet, path: "/v1/keys"}, &list)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(raw)))
		return nil
	}
	rows := make([][]string, len(list.Keys))
	for i, k := range list.Keys {
		tables := "all"
		if k.Tables != nil {
			tables = strings.Join(k.Tables, ", ")
		}
		rows[i] = []string{k.Name, k.Status, strings.Join(k.Roles, ", "), tables, firstOf(k.Expires, "-"), k.Created, k.By}
		for j := range rows[i] {
			rows[i][j] = printable(rows[i][j])
		}
	}
	return writeTable(out.out, []string{"key", "status", "roles", "tables", "expires", "created", "by"}, make([]bool, 7), rows)
}

// KeyRevokeCmd ends a key.
type KeyRevokeCmd struct {
	Name string `arg:"" help:"The key." placeholder:"NAME"`
	JSON bool   `name:"json" help:"Print the key as JSON."`
	remote
}

// Help is shown by --help.
func (c *KeyRevokeCmd) Help() string {
	return `Its sessions end with it. A new key of the same name has another secret.

Example:

    tailwater key revoke grafana`
}

// Run revokes the key.
func (c *KeyRevokeCmd) Run(ctx context.Context, out *output) error {
	var k keyJSON
	raw, err := c.getJSON(ctx, request{method: http.MethodDelete, path: "/v1/keys/" + url.PathEscape(c.Name)}, &k)
	if err != nil {
		return err
	}
	if c.JSON {
		fmt.Fprintf(out.out, "%s\n", strings.TrimSpace(string(raw)))
		return nil
	}
	fmt.Fprintf(out.out, "key %s is revoked since %s\n", printable(k.Name), printable(k.Revoked))
	return nil
}

// KeyGenerateCmd prints a secret that no server knows yet.
type KeyGenerateCmd struct {
	JSON bool `name:"json" help:"Print the secret as JSON."`
}

// Help is shown by --help.
func (c *KeyGenerateCmd) Help() string {
	return `Example:

    (umask 077 && tailwater key generate > admin.key)
    tailwater serve --http :8080 --auth keys --admin-key-file admin.key`
}

// Run prints a secret.
func (c *KeyGenerateCmd) Run(out *output) error {
	secret, err := access.NewSecret(access.AdminName)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out.out).Encode(map[string]string{"secret": secret})
	}
	_, err = fmt.Fprintln(out.out, secret)
	return err
}

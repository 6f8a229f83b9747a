package main

import (
	"github.com/alecthomas/kong"

	"github.com/tailwater/tailwater/internal/config"
)

// ServeCmd runs the server of a project. Its settings are not complete before
// Settings.Complete.
type ServeCmd struct {
	Dir string `arg:"" optional:"" default:"." help:"The project's folder." placeholder:"DIR"`
	config.Settings
}

// Help is shown by --help.
func (c *ServeCmd) Help() string {
	return `Every setting is a flag, an environment variable and a key in DIR/` + config.FileName + `, in this order of strength.

Examples:

    tailwater serve
    tailwater serve flights --http :8080 --batch-schedule "*/5 * * * *"
    TAILWATER_S3_SECRET_KEY_FILE=/run/secrets/s3 tailwater serve flights --lake s3://events/flights`
}

// BeforeResolve lets kong look up the settings file of the folder that was named.
func (c *ServeCmd) BeforeResolve(k *kong.Context) error {
	dir := "."
	for _, path := range k.Path {
		if path.Positional != nil && path.Positional.Name == "dir" {
			dir = k.Value(path).String()
		}
	}
	file, err := config.Open(dir)
	if err != nil {
		return err
	}
	k.AddResolver(file)
	return nil
}

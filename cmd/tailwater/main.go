// Command tailwater is real-time and historical analytics over event streams in
// one program. `tailwater serve` is the server; the other verbs make and check
// projects and talk to a server over HTTP. Each verb is a file of its name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tailwater/tailwater/internal/config"
)

// A commandLine is the tree of verbs. A verb's Run may take the context.Context
// and the *output as arguments.
type commandLine struct {
	Init     InitCmd     `cmd:"" group:"Projects" help:"Make a project, from a sample of the data if there is one."`
	Validate ValidateCmd `cmd:"" group:"Projects" help:"Check a project and show what it defines."`
	Serve    ServeCmd    `cmd:"" group:"Server" help:"Run the server of a project."`
	Demo     DemoCmd     `cmd:"" group:"Server" help:"Run the built-in project, with payments that never end."`
	Send     SendCmd     `cmd:"" group:"Data" help:"Send a file of events to a stream."`
	SQL      SQLCmd      `cmd:"" name:"sql" group:"Data" help:"Query streams and views."`
	View     ViewCmd     `cmd:"" group:"Data" help:"Read a view, or check it against the raw events."`
	Plan     PlanCmd     `cmd:"" group:"Operation" help:"Show what a change of a project's views would do."`
	Apply    ApplyCmd    `cmd:"" group:"Operation" help:"Bring a server's views to what its project's files say."`
	Batch    BatchCmd    `cmd:"" group:"Operation" help:"Start batch runs and list them."`
	Status   StatusCmd   `cmd:"" group:"Operation" help:"Show how far streams and views are."`
	Key      KeyCmd      `cmd:"" group:"Operation" help:"Manage the keys of a server."`
	Version  VersionCmd  `cmd:"" group:"Operation" help:"Show the version."`

	Healthcheck HealthcheckCmd `cmd:"" group:"Operation" help:"Ask a server whether it is ready, for supervisors."`
}

// An output is where a verb reads and writes: results on stdout, for pipes;
// everything said about them on stderr, for people.
type output struct {
	in       io.Reader
	out, err io.Writer
}

// Exit codes.
const (
	exitFailure = 1 // the verb did not do what it was asked to
	exitUsage   = 2 // the command line could not be understood
)

// errSilent fails a verb that has already said everything.
var errSilent = errors.New("failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exited is how kong's --help leaves the parser.
type exited int

// Main runs one command line and gives the exit code. It returns when the verb
// is done, or soon after ctx ends.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exited:
			code = int(r)
		default:
			panic(r)
		}
	}()
	out := &output{stdin, stdout, stderr}
	parser, err := kong.New(&commandLine{},
		kong.Name("tailwater"),
		kong.Description("Real-time and historical analytics over event streams, exact at every moment."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.Bind(out),
		kong.BindTo(ctx, (*context.Context)(nil)),
		config.Variables(),
	)
	if err != nil {
		panic("the tags of the command line do not parse: " + err.Error()) // a constant of the program
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "tailwater: %s\n`tailwater %s--help` tells more.\n", err, selected(err))
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		if !errors.Is(err, errSilent) {
			fmt.Fprintf(stderr, "tailwater: %s\n", err)
		}
		return exitFailure
	}
	return 0
}

// selected names the verb in which parsing failed, with a space behind it.
func selected(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return ""
	}
	path := ""
	for n := parse.Context.Selected(); n != nil && n.Type == kong.CommandNode; n = n.Parent {
		path = n.Name + " " + path
	}
	return path
}

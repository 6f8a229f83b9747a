package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A File is a settings file as a kong.Resolver. It yields to the command line
// (kong does that) and to the environment (it does that itself, since kong lets
// resolvers win), and its errors name file and line.
type File struct {
	path  string
	keys  map[string]entry // by setting name: nested keys joined with "-"
	known map[string]bool  // the settings' names
}

type entry struct {
	key  string // as written, nested keys joined with "."
	text string
	line int
}

// Open reads the settings file of the project in dir. A missing file is an
// empty one; a file that is not YAML is an error with line and column.
func Open(dir string) (*File, error) {
	f := &File{path: filepath.Join(dir, FileName), keys: map[string]entry{}, known: Names()}
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return f, f.parse(text)
}

func (f *File) parse(text []byte) error {
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			at := y.GetToken().Position
			return fmt.Errorf("%s:%d:%d: %s", f.path, at.Line, at.Column, y.GetMessage())
		}
		return fmt.Errorf("%s: %w", f.path, err)
	}
	for i, doc := range tree.Docs {
		if doc.Body == nil {
			continue // nothing but comments
		}
		if i > 0 {
			return f.errorf(doc.Body, "a second document; keep one")
		}
		if err := f.collect("", doc.Body); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) errorf(at ast.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", f.path, at.GetToken().Position.Line, fmt.Sprintf(format, args...))
}

// collect flattens mappings into keys; prefix is the path so far, with ".".
func (f *File) collect(prefix string, node ast.Node) error {
	var pairs []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil
	default:
		return f.errorf(node, "want \"name: value\" lines")
	}
	for _, p := range pairs {
		key := prefix + p.Key.String()
		switch v := p.Value.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			if err := f.collect(key+".", v); err != nil {
				return err
			}
		case *ast.NullNode: // "key:" leaves the default
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.LiteralNode:
			name := strings.ReplaceAll(key, ".", "-")
			if first, twice := f.keys[name]; twice {
				return f.errorf(p.Key, "%s is already set in line %d", key, first.line)
			}
			f.keys[name] = entry{key: key, text: scalar(v), line: p.Key.GetToken().Position.Line}
		default:
			return f.errorf(p.Value, "%s: want one plain value", key)
		}
	}
	return nil
}

// scalar gives a value's text as a flag would be given it.
func scalar(node ast.Node) string {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	return node.GetToken().Value
}

// Validate refuses keys that are no settings, with the nearest that is one.
func (f *File) Validate(*kong.Application) error {
	var errs []error
	for name, e := range f.keys {
		if f.known[name] {
			continue
		}
		err := fmt.Sprintf("%s:%d: unknown setting %q", f.path, e.line, e.key)
		if near := Nearest(name, slices.Collect(maps.Keys(f.known))); near != "" {
			err += fmt.Sprintf("; did you mean %q?", near)
		} else {
			err += "; `tailwater serve --help` lists the settings"
		}
		errs = append(errs, errors.New(err))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Resolve gives the file's value for a flag of Settings, nil if it has none or
// the environment has one.
func (f *File) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	e, ok := f.keys[flag.Name]
	if !ok || !f.known[flag.Name] {
		return nil, nil
	}
	for _, env := range flag.Tag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	if flag.Tag.Get("relative") == "project" && e.text != "" && !filepath.IsAbs(e.text) && !strings.Contains(e.text, "://") {
		e.text = filepath.Join(filepath.Dir(f.path), e.text)
	}
	// Parsed here once more, because kong's own error would not name the line.
	trial := reflect.New(flag.Target.Type()).Elem()
	var err error
	if flag.Enum != "" {
		if options := flag.EnumSlice(); !slices.Contains(options, e.text) {
			err = fmt.Errorf("must be one of %s but got %q", strings.Join(options, ", "), e.text)
		}
	} else {
		err = flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: kong.Scan().PushTyped(e.text, kong.FlagValueToken)}, trial)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", f.path, e.line, err)
	}
	return e.text, nil
}

// Names is the set of all settings' names.
func Names() map[string]bool {
	names := map[string]bool{}
	k, err := kong.New(&Settings{}, kong.Name("tailwater"))
	if err != nil {
		panic("config: the tags of Settings do not parse: " + err.Error()) // a constant of the program
	}
	for _, flag := range k.Model.Flags {
		if flag.Name != "help" {
			names[flag.Name] = true
		}
	}
	return names
}

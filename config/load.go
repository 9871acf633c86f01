package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/viper"
)

// maxSize bounds the file in bytes: the largest sensible configuration is far
// smaller, and a path that was mistaken should not fill the memory.
const maxSize = 1 << 20

// Load reads the file at path and applies the environment of the process. The
// format follows from the extension: .yaml, .yml, .toml or .json.
//
// The error is [Problems] if the file was read and something in it is wrong.
// Otherwise it wraps what the system said about the file.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, os.Environ())
}

func readFile(path string) ([]byte, error) {
	// Without O_NONBLOCK a named pipe would keep us here until somebody writes.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, explainOpen(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory; name the file in it", path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file; write the configuration to one", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s is larger than %d KiB; this is not a configuration of multihomed", path, maxSize>>10)
	}
	return data, nil
}

// explainOpen adds what to do to an error of the system.
func explainOpen(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; write it, or name another file with --config", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run as root, or make the file readable", err)
	}
	return err
}

// Parse is Load without the file system and the process: name gives the format
// by its extension and appears in problems, environ holds "NAME=value" entries
// as [os.Environ] returns them. Paths in the file begin at the directory of
// name, which itself begins at the working directory unless it is absolute. The
// error is [Problems].
func Parse(name string, data []byte, environ []string) (*Config, error) {
	p := parser{name: name, origin: map[string]string{}}
	cfg, warnings := p.parse(data, environ)
	if len(p.problems) > 0 {
		return nil, p.finish()
	}
	cfg.Warnings = append(p.warnings(cfg), warnings...)
	if !cfg.speaks() {
		cfg.BGP = nil
	}
	return cfg, nil
}

// parser holds what one Parse finds.
type parser struct {
	report
	name string
	root *position
	// origin maps the path of a key to the variable that set it.
	origin map[string]string
}

func (p *parser) parse(data []byte, environ []string) (*Config, []string) {
	format, ok := formatOf(p.name)
	if !ok {
		p.add("", "the extension %q is not known; name the file .yaml, .yml, .toml or .json", filepath.Ext(p.name))
		return nil, nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if bad := invalidUTF8(data); bad >= 0 {
		p.addAt(bytes.Count(data[:bad], []byte("\n"))+1, "", "is not UTF-8; save it in this encoding")
		return nil, nil
	}
	data, ok = p.locate(format, data)
	if !ok {
		return nil, nil
	}
	values, err := read(format, data)
	if err != nil {
		p.syntaxOf(format, err)
		return nil, nil
	}
	set, warnings := overrides(environ, namesIn(values), announcedIn(values), &p.report)
	for _, o := range set {
		o.apply(values)
		p.origin[o.path] = o.variable
	}
	var raw rawConfig
	d := decoder{report: &p.report}
	d.section(reflect.ValueOf(&raw).Elem(), values, p.root, "")
	cfg := resolve(&raw, filepath.Dir(p.name), &p.report)
	cfg.validate(&p.report)
	return cfg, warnings
}

// locate reads the positions and returns the text for the decoder; false if it
// cannot be read any further.
func (p *parser) locate(format string, data []byte) ([]byte, bool) {
	if len(bytes.TrimSpace(data)) == 0 {
		p.add("", "is empty; see examples/reference.yaml for what to write")
		return data, false
	}
	b := newBuilder(data)
	switch format {
	case "yaml":
		p.root, data = b.yaml(data)
	case "toml":
		p.root = b.toml(data)
	case "json":
		p.root = b.json(data)
	default:
		panic("unknown format " + format)
	}
	p.report = b.report
	switch {
	case b.broken:
		return data, false
	case p.root == nil || p.root.null || len(p.root.fields) == 0 && (p.root.fields != nil || format == "toml"):
		p.add("", "holds no key; see examples/reference.yaml for what to write")
		return data, false
	case p.root.fields == nil:
		p.addAt(1, "", "does not consist of keys; write for example \"uplinks:\" with a list below it")
		return data, false
	}
	return data, true
}

// syntaxOf reports an error of the decoding library that the positions did not
// meet, such as a tag that does not fit its value.
func (p *parser) syntaxOf(format string, err error) {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	if format == "yaml" {
		b := builder{report: p.report}
		b.syntax(err)
		p.report = b.report
		return
	}
	p.add("", "is not valid %s: %v", strings.ToUpper(format), err)
}

// read lets viper decode the text. No key holds the delimiter, so that viper
// takes no key apart.
func read(format string, data []byte) (map[string]any, error) {
	v := viper.NewWithOptions(viper.KeyDelimiter("\x00"), viper.WithLogger(slog.New(slog.DiscardHandler)))
	v.SetConfigType(format)
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	return v.AllSettings(), nil
}

func formatOf(name string) (string, bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return "yaml", true
	case ".toml":
		return "toml", true
	case ".json":
		return "json", true
	}
	return "", false
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, -1 if
// there is none.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return -1
}

// namesIn returns the uplinks' names as written, "" where there is none.
func namesIn(values map[string]any) []string {
	list, _ := values["uplinks"].([]any)
	names := make([]string, len(list))
	for i, v := range list {
		if fields, ok := fieldsOf(v); ok {
			names[i], _ = fields["name"].(string)
		}
	}
	if len(names) > maxUplinks {
		return nil // A problem of its own; no variable needs to be known then.
	}
	return names
}

// announcedIn returns how many prefixes the file lists.
func announcedIn(values map[string]any) int {
	section, _ := fieldsOf(values["bgp"])
	list, _ := section["announce"].([]any)
	if len(list) > maxAnnouncements {
		return 0 // A problem of its own, as for uplinks.
	}
	return len(list)
}

// finish gives each problem its file and line.
func (p *parser) finish() Problems {
	for i := range p.problems {
		p.place(&p.problems[i])
	}
	p.problems.sort()
	return p.problems
}

// place finds where a path was written: by a variable, in the file, or at the
// nearest key above it.
func (p *parser) place(problem *Problem) {
	problem.File = p.name
	if problem.Line > 0 {
		return
	}
	if strings.HasPrefix(problem.Path, envPrefix) {
		problem.File = environmentFile
		return
	}
	for path := problem.Path; path != ""; path = parentOf(path) {
		if variable, ok := p.origin[path]; ok {
			problem.File, problem.Path = environmentFile, variable
			return
		}
		if p.root == nil {
			return
		}
		if at := p.root.at(path); at != nil {
			problem.Line = at.line
			return
		}
	}
}

// warnings prints what is valid and probably not wanted, with its place.
func (p *parser) warnings(cfg *Config) []string {
	var r report
	cfg.warn(&r)
	for i := range r.problems {
		p.place(&r.problems[i])
	}
	r.problems.sort()
	lines := make([]string, len(r.problems))
	for i, w := range r.problems {
		lines[i] = w.String()
	}
	return lines
}

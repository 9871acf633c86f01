package page

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// Place is where a test is.
type Place struct {
	// File, with slashes from the root of the module, and its line from 1.
	File string
	Line int
}

// Dir is the directory of the package, "." for that of the root.
func (p Place) Dir() string { return path.Dir(p.File) }

// Tests returns the tests and fuzz targets below root by name; packages may share
// names. Directories that the go command ignores, and other modules, are left out.
func Tests(root fs.FS) (map[string][]Place, error) {
	tests := map[string][]Place{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(root, name)
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		return readFile(root, name, tests)
	})
	if err != nil {
		return nil, fmt.Errorf("find tests: %w", err)
	}
	return tests, nil
}

func enter(root fs.FS, dir string) error {
	base := path.Base(dir)
	if dir == "." {
		return nil
	}
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func readFile(root fs.FS, name string, tests map[string][]Place) error {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !isTest(fn.Name.Name) {
			continue
		}
		tests[fn.Name.Name] = append(tests[fn.Name.Name], Place{File: name, Line: files.Position(fn.Pos()).Line})
	}
	return nil
}

// isTest reports whether a function's name is that of what `go test` runs without
// being asked. TestMain is none: it runs the others.
func isTest(name string) bool {
	return name != "TestMain" && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"))
}

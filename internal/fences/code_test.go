package fences

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxLines is the hard limit for a file; the habit is 400.
const maxLines = 450

// finding is one broken rule.
type finding struct {
	file string
	line int
	rule string
	text string
}

// String returns the finding as compilers print theirs.
func (f finding) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.file, f.line, f.rule, f.text) }

// imported is one import of a file.
type imported struct {
	path string
	line int
}

// source is one parsed Go file.
type source struct {
	name    string // with slashes, from the root of the module
	test    bool
	lines   int
	imports []imported
	fset    *token.FileSet
	ast     *ast.File
}

// check holds every Go file below root against all rules. Directories that the
// go command ignores, and other modules, are left out.
func check(root fs.FS) ([]finding, error) {
	var found []finding
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		found = append(found, checkImports(f)...)
		found = append(found, checkCode(f)...)
		if f.lines > maxLines {
			found = append(found, finding{name, maxLines, "length", fmt.Sprintf("%d lines; split it by what its parts do", f.lines)})
		}
		return nil
	})
	return found, err
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

func parse(root fs.FS, name string) (source, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return source{}, fmt.Errorf("read %s: %w", name, err)
	}
	f := source{name: name, test: strings.HasSuffix(name, "_test.go"), fset: token.NewFileSet()}
	f.ast, err = parser.ParseFile(f.fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return source{}, fmt.Errorf("parse %s: %w", name, err)
	}
	f.lines = strings.Count(string(text), "\n")
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, fmt.Errorf("parse %s: %w", name, err)
		}
		f.imports = append(f.imports, imported{p, f.line(spec)})
	}
	return f, nil
}

func (f source) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// localName returns the name by which f knows the package of an import path, ""
// if it does not import it.
func (f source) localName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// walker looks at the calls of one file.
type walker struct {
	source
	// packages maps the local names of the packages that matter to their paths.
	packages map[string]string
	found    []finding
}

func checkCode(f source) []finding {
	w := &walker{source: f, packages: make(map[string]string)}
	for _, p := range []string{"log", "os", "syscall", "time", "testing/synctest"} {
		if name := f.localName(p); name != "" {
			w.packages[name] = p
		}
	}
	for _, d := range f.ast.Decls {
		fn, _ := d.(*ast.FuncDecl)
		w.walk(d, scope{
			testMain: f.test && fn != nil && fn.Recv == nil && fn.Name.Name == "TestMain",
			bubble:   fn != nil && w.waits(fn),
		})
	}
	return w.found
}

// scope is what surrounds a node.
type scope struct {
	testMain bool
	// bubble: within the function of synctest.Test, or one that calls synctest.Wait,
	// which panics anywhere else. Sleeping takes no time there.
	bubble bool
	// testers are the names of parameters of types of package testing.
	testers []string
}

// waits reports whether fn calls synctest.Wait.
func (w *walker) waits(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			pkg, name := w.callee(call)
			found = found || pkg == "testing/synctest" && name == "Wait"
		}
		return !found
	})
	return found
}

func (w *walker) walk(n ast.Node, s scope) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			s.testers = append(s.testers, testers(n.Type)...)
		case *ast.FuncLit:
			s.testers = append(s.testers, testers(n.Type)...)
		case *ast.CallExpr:
			if pkg, name := w.callee(n); pkg == "testing/synctest" && name == "Test" && !s.bubble {
				inner := s
				inner.bubble = true
				w.walk(n, inner)
				return false
			}
			w.call(n, s)
		}
		return true
	})
}

// testers returns the names of the parameters of *testing.T, B, F and TB.
func testers(t *ast.FuncType) []string {
	var names []string
	for _, field := range t.Params.List {
		typ := field.Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		sel, ok := typ.(*ast.SelectorExpr)
		if !ok {
			continue
		}
		if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "testing" {
			continue
		}
		for _, n := range field.Names {
			names = append(names, n.Name)
		}
	}
	return names
}

// callee returns the package and name of a called function of a package that
// matters, the package alone of a builtin being "".
func (w *walker) callee(call *ast.CallExpr) (pkg, name string) {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return "", fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return w.packages[x.Name], fun.Sel.Name
		}
	}
	return "?", ""
}

func (w *walker) call(call *ast.CallExpr, s scope) {
	add := func(rule, text string) {
		w.found = append(w.found, finding{w.name, w.line(call), rule, text})
	}
	inCmd := strings.HasPrefix(w.name, "cmd/")
	inLab := strings.HasPrefix(w.name, "internal/lab/")
	// Examples and tools are programs of their own.
	program := w.ast.Name.Name == "main"
	mayExit := inCmd || inLab || program || s.testMain
	// The engine starts a component that panicked again, and so does the monitor
	// with its own goroutines; a lab hands a panic from its threads on to the
	// caller, and a test may want to see one.
	mayRecover := inCmd || inLab || w.test || strings.HasPrefix(w.name, "internal/engine/") || slices.Contains([]string{"internal/netmon/guard.go", "bgp/guard.go"}, w.name)
	pkg, name := w.callee(call)
	switch {
	case (pkg == "os" || pkg == "syscall") && name == "Exit" && !mayExit:
		add("exit", "a library cannot end the daemon; return an error")
	case pkg == "log" && !inCmd && (strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic")):
		add("exit", "a library cannot end the daemon; return an error")
	case pkg == "" && name == "recover" && !mayRecover && isBuiltin(call):
		add("recover", "only who supervises goroutines may catch a panic")
	case pkg == "time" && name == "Sleep" && w.test && !s.bubble:
		add("sleep", "wait for the condition, or use testing/synctest")
	case w.test && isSkip(call, s.testers):
		add("skip", "a test that cannot run fails and says what it needs")
	}
}

// isBuiltin tells the builtin recover() from a method or function with
// arguments that has its name.
func isBuiltin(call *ast.CallExpr) bool {
	_, plain := call.Fun.(*ast.Ident)
	return plain && len(call.Args) == 0
}

func isSkip(call *ast.CallExpr, testers []string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains(testers, x.Name)
}

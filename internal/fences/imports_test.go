package fences

import (
	"path"
	"slices"
	"strings"
)

// module is the path of this module.
const module = "github.com/multihomed/multihomed"

// rule says what the non-test files of one package may import of this module.
type rule struct {
	imports []string
	why     string
}

const (
	leaf = "leaves stand alone: what two of them share belongs to the caller"
	pure = "decisions are pure and draw in the words of fib"
)

// rules has every directory with Go files, and what those may import. A
// directory stands for itself only.
var rules = map[string]rule{
	"fib":             {nil, leaf},
	"fib/fibtest":     {[]string{"fib"}, "the fake kernel speaks the types of fib"},
	"config":          {nil, leaf},
	"bgp":             {nil, leaf},
	"bgp/interop":     {[]string{"bgp"}, "interoperability is tested as a stranger would use the package"},
	"bfd":             {nil, leaf},
	"bfd/interop":     {[]string{"bfd"}, "interoperability is tested as a stranger would use the package"},
	"internal/netmon": {nil, leaf},
	"internal/probe":  {nil, leaf},
	"internal/status": {nil, leaf},
	"internal/uplink": {[]string{"fib"}, pure},
	"internal/engine": {
		[]string{"fib", "config", "bgp", "bfd", "internal/netmon", "internal/probe", "internal/speaker", "internal/status", "internal/uplink"},
		"the engine is the one place where the leaves meet",
	},
	"internal/speaker":          {[]string{"bgp"}, "it carries what bgp says from one process to another"},
	"internal/bgptest":          {nil, "a far end that knows nothing of what it tests"},
	"internal/adversity":        {[]string{"internal/bgptest", "internal/lab", "internal/status"}, "adversity looks at the daemon from outside"},
	"internal/lab":              {nil, "a lab builds networks and knows nothing of the daemon"},
	"internal/demo":             {[]string{"internal/lab", "internal/status"}, "the demo looks at the daemon from outside"},
	"internal/fences":           {[]string{"internal/conformance/page"}, "the fences hold only tests"},
	"internal/conformance":      {[]string{"internal/conformance/page"}, "it runs tests and knows nothing of what they test"},
	"internal/conformance/page": {nil, "the page is words and names"},
	"bench":                     {[]string{"fib", "bfd", "internal/adversity", "internal/bgptest", "internal/lab", "internal/status"}, "a benchmark looks at the daemon from outside, and at a package as a stranger would"},
	"examples/embed":            {[]string{"fib"}, "an example uses what a stranger could: the public packages, one at a time"},
	"examples/bgp-embed":        {[]string{"bgp"}, "an example uses what a stranger could: the public packages, one at a time"},
	"examples/bfd-embed":        {[]string{"bfd"}, "an example uses what a stranger could: the public packages, one at a time"},
	"cmd/multihomed": {
		[]string{
			"fib", "config", "bgp", "bfd", "internal/netmon", "internal/probe", "internal/speaker", "internal/status", "internal/engine",
			"internal/demo", "internal/lab",
		},
		"a command puts the parts together or asks for something; it decides nothing",
	},
}

// testHelpers may be imported by every test.
var testHelpers = []string{"internal/adversity", "internal/lab", "internal/bgptest", "fib/fibtest"}

// library is a dependency that stays in few packages.
type library struct {
	// prefix of the import path.
	prefix string
	homes  []string
}

var libraries = []library{
	{"github.com/vishvananda/", []string{"fib", "internal/netmon", "internal/lab"}},
	{"github.com/osrg/gobgp/", []string{"bgp"}},
	{"github.com/prometheus/", []string{"internal/status"}},
	{"github.com/spf13/viper", []string{"config"}},
	{"github.com/fsnotify/fsnotify", []string{"config"}},
	{"github.com/spf13/cobra", []string{"cmd/multihomed"}},
}

// checkImports holds the imports of a file against the rules.
func checkImports(f source) []finding {
	var found []finding
	dir := path.Dir(f.name)
	r, known := rules[dir]
	if !known {
		found = append(found, finding{f.name, 1, "package", "directory " + dir + " has no rule; add it to the table in internal/fences/imports_test.go"})
	}
	for _, imp := range f.imports {
		if own, ok := strings.CutPrefix(imp.path, module+"/"); ok {
			if known && !mayImport(dir, own, r, f.test) {
				found = append(found, finding{f.name, imp.line, "import", dir + " must not import " + own + ": " + r.why})
			}
			continue
		}
		for _, lib := range libraries {
			if !f.test && strings.HasPrefix(imp.path, lib.prefix) && !slices.Contains(lib.homes, dir) {
				found = append(found, finding{
					f.name, imp.line, "library",
					imp.path + " stays in " + strings.Join(lib.homes, ", ") + "; use the types of that package",
				})
			}
		}
	}
	return found
}

func mayImport(dir, own string, r rule, test bool) bool {
	if slices.Contains(r.imports, own) {
		return true
	}
	// A test may import its own package from outside and the helpers. The
	// tests of helpers and commands are no exception to the direction.
	return test && (own == dir || slices.Contains(testHelpers, own))
}

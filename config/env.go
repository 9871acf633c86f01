package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// envPrefix begins every variable that may change the configuration.
const envPrefix = "MULTIHOMED_"

// environmentFile stands for the file in problems of variables.
const environmentFile = "environment"

// override is one key that a variable sets.
type override struct {
	variable, value string
	// path is the key as problems print it; steps are the same for walking.
	path  string
	steps []any
	many  bool
}

// envName spells a step of a path as it appears in a variable: upper case, and
// an underscore for everything that is neither letter nor digit.
func envName(step string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, step)
}

// targets maps the name of every variable that means something to what it sets.
// names are the uplinks' names in the order of the file, announced is how many
// prefixes it lists. A variable that names an uplink by position is never taken for
// a name.
func targets(names []string, announced int) map[string][]override {
	byPosition, byName := map[string][]override{}, map[string][]override{}
	for _, k := range schema() {
		if k.section && !(len(k.steps) == 3 && k.steps[1] == "[]") {
			continue // Only the sections of an uplink can be switched.
		}
		if at := slices.Index(k.steps, "[]"); at > 1 {
			for i := range announced {
				o := override{many: k.many, path: strings.Replace(k.String(), "[]", "["+strconv.Itoa(i)+"]", 1)}
				words := slices.Clone(k.steps)
				words[at] = strconv.Itoa(i)
				for _, s := range k.steps {
					o.steps = append(o.steps, s)
				}
				o.steps[at] = i
				name := envPrefix + envName(strings.Join(words, "-"))
				byPosition[name] = append(byPosition[name], o)
			}
			continue
		}
		if len(k.steps) < 2 || k.steps[1] != "[]" {
			o := override{path: k.String(), many: k.many}
			for _, s := range k.steps {
				o.steps = append(o.steps, s)
			}
			name := envPrefix + envName(strings.Join(k.steps, "-"))
			byPosition[name] = append(byPosition[name], o)
			continue
		}
		rest := k.steps[2:]
		for i, uplink := range names {
			o := override{many: k.many, path: join(item("uplinks", i), strings.Join(rest, ".")), steps: []any{"uplinks", i}}
			for _, s := range rest {
				o.steps = append(o.steps, s)
			}
			tail := envName("-" + strings.Join(rest, "-"))
			name := envPrefix + "UPLINKS_" + strconv.Itoa(i) + tail
			byPosition[name] = append(byPosition[name], o)
			if uplink != "" {
				name = envPrefix + "UPLINKS_" + envName(uplink) + tail
				byName[name] = append(byName[name], o)
			}
		}
	}
	for name, overrides := range byName {
		if byPosition[name] == nil {
			byPosition[name] = overrides
		}
	}
	return byPosition
}

// overrides picks the variables of ours from environ ("NAME=value"). A variable
// that names nothing is a warning, not a problem: a container runtime puts
// variables such as MULTIHOMED_PORT into the environment on its own. A variable
// with an empty value is ignored.
func overrides(environ, names []string, announced int, r *report) (set []override, warnings []string) {
	var known map[string][]override
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" {
			continue
		}
		if known == nil {
			known = targets(names, announced)
		}
		meant := known[name]
		switch len(meant) {
		case 0:
			warnings = append(warnings, fmt.Sprintf("%s: %s: changes nothing; %s", environmentFile, name, adviseVariable(name, known, len(names))))
		case 1:
			o := meant[0]
			o.variable, o.value = name, value
			set = append(set, o)
		default:
			r.add(name, "means %s and %s; name the uplink by its position (from 0)", meant[0].path, meant[1].path)
		}
	}
	// Shallow first: a variable for a section must not undo one for its keys.
	slices.SortStableFunc(set, func(a, b override) int { return len(a.steps) - len(b.steps) })
	slices.Sort(warnings)
	return set, warnings
}

func adviseVariable(name string, known map[string][]override, uplinks int) string {
	if rest, ok := strings.CutPrefix(name, envPrefix+"UPLINKS_"); ok {
		position, _, _ := strings.Cut(rest, "_")
		if n, err := strconv.Atoi(position); err == nil && n >= uplinks {
			return fmt.Sprintf("the file has %d uplinks, counted from 0", uplinks)
		}
	}
	candidates := map[string]bool{}
	for k := range maps.Keys(known) {
		candidates[k] = true
	}
	if near := nearest(name, candidates); near != "" && distance(name, near) <= 3 {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "no key has this name"
}

// apply returns the values with o in its place. Values on the way that are no
// sections are replaced: the variable wins.
func (o override) apply(root map[string]any) {
	var value any = o.value
	if o.many {
		var values []any
		for _, v := range strings.FieldsFunc(o.value, func(r rune) bool { return r == ',' || r == ' ' }) {
			values = append(values, v)
		}
		value = values
	}
	setIn(root, o.steps, value)
}

// setIn sets a value below container, which is a section or a list, and returns
// the container.
func setIn(container any, steps []any, value any) any {
	if len(steps) == 0 {
		return value
	}
	switch step := steps[0].(type) {
	case string:
		fields, ok := fieldsOf(container)
		if !ok || fields == nil {
			fields = map[string]any{}
		}
		fields[step] = setIn(fields[step], steps[1:], value)
		return fields
	case int:
		items, ok := container.([]any)
		if !ok || step >= len(items) {
			return container
		}
		items[step] = setIn(items[step], steps[1:], value)
		return items
	default:
		panic(fmt.Sprintf("step of an unknown kind: %v", steps[0]))
	}
}

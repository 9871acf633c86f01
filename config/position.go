package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxValues bounds how many values a file may have after its aliases are
// followed. The largest sensible configuration (256 uplinks with every key) has
// about 15,000.
const maxValues = 50_000

// position is a value of the file without the value: where it is and what is
// below it. The values themselves come from viper, which forgets lines, empty
// sections and the spelling of keys.
type position struct {
	line int
	// key is the key as it was spelled; fields are filed under lower case.
	key    string
	null   bool
	fields map[string]*position
	items  []*position
}

// order lists the fields in the order of their lines, for steady messages.
func (p *position) order() []string {
	keys := make([]string, 0, len(p.fields))
	for k := range p.fields {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := p.fields[keys[i]], p.fields[keys[j]]
		if a.line != b.line {
			return a.line < b.line
		}
		return keys[i] < keys[j]
	})
	return keys
}

// at walks down a path such as uplinks[1].weight; nil if it is not in the file.
func (p *position) at(path string) *position {
	for path != "" && p != nil {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			number, rest, _ := strings.Cut(rest, "]")
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 || n >= len(p.items) {
				return nil
			}
			p, path = p.items[n], strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		p, path = p.fields[path[:end]], strings.TrimPrefix(path[end:], ".")
	}
	return p
}

// field returns the field named by key, made if needed, and the older one of
// the same name without regard to case, if there is one.
func (p *position) field(key string, line int) (f, older *position) {
	name := strings.ToLower(key)
	if older = p.fields[name]; older != nil {
		return older, older
	}
	if p.fields == nil {
		p.fields = map[string]*position{}
	}
	f = &position{line: line, key: key}
	p.fields[name] = f
	return f, nil
}

// parentOf cuts the last step off a path; "" is the whole file.
func parentOf(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// join adds a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// item adds an index to a path.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// builder builds the tree of positions and reports what only the text can
// show: duplicate keys and broken syntax.
type builder struct {
	report
	values int
	// broken is set if the text cannot be decoded any further.
	broken bool
	// starts are the offsets at which lines begin, for formats that count
	// bytes.
	starts []int
}

func newBuilder(data []byte) *builder {
	b := &builder{starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			b.starts = append(b.starts, i+1)
		}
	}
	return b
}

// line converts an offset in bytes to a line.
func (b *builder) line(offset int) int {
	return sort.Search(len(b.starts), func(i int) bool { return b.starts[i] > offset })
}

// maxPath bounds the path of a value in bytes, which a section that contains
// itself would stretch for ever.
const maxPath = 4096

// spend counts the value at path and says whether the file is still small
// enough.
func (b *builder) spend(path string) bool {
	b.values++
	switch {
	case b.values == maxValues:
		b.broken = true
		b.add("", "has more than %d values; this is not a configuration of multihomed", maxValues)
	case len(path) > maxPath && !b.broken:
		b.broken = true
		b.add("", "has a key that is too long, or sections within sections for ever; this is not a configuration of multihomed")
	}
	return b.values < maxValues && len(path) <= maxPath
}

func (b *builder) duplicate(path string, line int, older *position) {
	// A duplicate is worth its own report even if the key has another problem:
	// the path is marked so that it is not confused with that.
	b.addAt(line, path, "is given twice, first in line %d; keep one of them", older.line)
}

// yaml returns the tree, and the text for the next decoder: the one given, but
// without the duplicates, at which it would stop.
func (b *builder) yaml(data []byte) (*position, []byte) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, data
		}
		b.syntax(err)
		return nil, data
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		b.broken = true
		b.addAt(second.Line, "", `a second document begins here; remove the line "---" and what follows`)
		return nil, data
	case !errors.Is(err, io.EOF):
		b.syntax(err)
		return nil, data
	}
	root := &position{line: 1}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, data
	}
	b.yamlNode(root, doc.Content[0], "", false)
	if len(b.problems) > 0 && !b.broken {
		if clean, err := yaml.Marshal(&doc); err == nil {
			data = clean
		}
	}
	return root, data
}

// syntax reports an error of the YAML library, which names the line in words.
func (b *builder) syntax(err error) {
	b.broken = true
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = strings.TrimSpace(strings.TrimPrefix(message, "unmarshal errors:"))
	line := 0
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if number, after, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				line, message = n, after
			}
		}
	}
	if strings.Contains(message, "cannot start any token") {
		message += " (is it indented with a tab? YAML wants spaces)"
	}
	b.addAt(line, "", "is not valid YAML: %s", message)
}

// yamlNode fills p from n. merged means that n is the target of a merge key:
// what is there already has priority.
func (b *builder) yamlNode(p *position, n *yaml.Node, path string, merged bool) {
	if !b.spend(path) {
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		b.yamlNode(p, n.Alias, path, merged)
	case yaml.MappingNode:
		b.yamlMapping(p, n, path, merged)
	case yaml.SequenceNode:
		for i, c := range n.Content {
			if merged {
				b.yamlNode(p, c, path, true)
				continue
			}
			child := &position{line: c.Line}
			p.items = append(p.items, child)
			b.yamlNode(child, c, item(path, i), false)
		}
	case yaml.ScalarNode:
		p.null = n.Tag == "!!null"
	}
}

func (b *builder) yamlMapping(p *position, n *yaml.Node, path string, merged bool) {
	if p.fields == nil {
		p.fields = map[string]*position{}
	}
	var merges, kept []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			b.broken = true
			b.addAt(k.Line, join(path, "?"), "a key must be a word, not a list or a section")
			continue
		}
		if k.Tag == "!!merge" {
			merges, kept = append(merges, v), append(kept, n.Content[i], v)
			continue
		}
		f, older := p.field(k.Value, k.Line)
		if older != nil && !merged {
			b.duplicate(join(path, strings.ToLower(k.Value)), k.Line, older)
			continue
		}
		kept = append(kept, n.Content[i], v)
		if older != nil {
			continue
		}
		b.yamlNode(f, v, join(path, strings.ToLower(k.Value)), false)
	}
	n.Content = kept
	for _, m := range merges {
		b.yamlNode(p, m, path, true)
	}
}

func (b *builder) json(data []byte) *position {
	var ignored any
	if err := json.Unmarshal(data, &ignored); err != nil {
		line := 0
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			line = b.line(max(int(syntax.Offset)-1, 0))
		}
		b.broken = true
		b.addAt(line, "", "is not valid JSON: %v", err)
		return nil
	}
	root := &position{line: 1}
	b.jsonValue(root, json.NewDecoder(bytes.NewReader(data)), "")
	return root
}

// jsonValue reads one value. The text has been checked, so that errors of the
// decoder cannot occur; they end the walk all the same.
func (b *builder) jsonValue(p *position, dec *json.Decoder, path string) {
	b.spend(path)
	token, err := dec.Token()
	if err != nil {
		return
	}
	p.line = b.line(int(dec.InputOffset()) - 1)
	switch token {
	case json.Delim('{'):
		p.fields = map[string]*position{}
		for dec.More() {
			key, err := dec.Token()
			name, ok := key.(string)
			if err != nil || !ok {
				return
			}
			line := b.line(int(dec.InputOffset()) - 1)
			f, older := p.field(name, line)
			if older != nil {
				b.duplicate(join(path, strings.ToLower(name)), line, older)
				f = &position{}
			}
			b.jsonValue(f, dec, join(path, strings.ToLower(name)))
			f.line = line
		}
		_, _ = dec.Token()
	case json.Delim('['):
		for i := 0; dec.More(); i++ {
			child := &position{}
			p.items = append(p.items, child)
			b.jsonValue(child, dec, item(path, i))
		}
		_, _ = dec.Token()
	case nil:
		p.null = true
	}
}

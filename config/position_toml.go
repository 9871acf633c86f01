package config

import (
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// toml builds the tree from a TOML text. The library checks the text, the keys
// included, in a first pass; the second one only notes where everything is.
func (b *builder) toml(data []byte) *position {
	var ignored map[string]any
	if err := toml.Unmarshal(data, &ignored); err != nil {
		line := 0
		if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = decode.Position()
		}
		b.broken = true
		b.addAt(line, "", "is not valid TOML: %v", err)
		return nil
	}
	root := &position{line: 1}
	current, path := root, ""
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			current, path = b.tomlKey(root, "", e.Key(), false)
		case unstable.ArrayTable:
			list, at := b.tomlKey(root, "", e.Key(), true)
			current = &position{line: b.tomlLine(e.Key(), list.line)}
			list.items = append(list.items, current)
			path = item(at, len(list.items)-1)
		case unstable.KeyValue:
			b.tomlPair(current, path, e)
		default:
			// A comment: the parser returns them only if it is asked to.
		}
		if b.values >= maxValues {
			break
		}
	}
	return root
}

// tomlKey walks down a dotted key. A list on the way stands for its last item;
// at the end of the key only if list is false.
func (b *builder) tomlKey(p *position, path string, key unstable.Iterator, list bool) (*position, string) {
	for key.Next() {
		n := key.Node()
		b.spend(path)
		line := b.line(int(n.Raw.Offset))
		name := string(n.Data)
		f, older := p.field(name, line)
		if older != nil && older.key != name {
			// TOML knows two keys here, everything after it only one, and which
			// one is left to chance.
			b.broken = true
			b.duplicate(join(path, strings.ToLower(name)), line, older)
		}
		p, path = f, join(path, strings.ToLower(name))
		if len(p.items) > 0 && !(list && key.IsLast()) {
			path = item(path, len(p.items)-1)
			p = p.items[len(p.items)-1]
		}
	}
	return p, path
}

// tomlLine is the line of the first part of a key.
func (b *builder) tomlLine(key unstable.Iterator, fallback int) int {
	if !key.Next() {
		return fallback
	}
	return b.line(int(key.Node().Raw.Offset))
}

func (b *builder) tomlPair(p *position, path string, pair *unstable.Node) {
	f, at := b.tomlKey(p, path, pair.Key(), true)
	b.tomlValue(f, at, pair.Value())
}

func (b *builder) tomlValue(p *position, path string, v *unstable.Node) {
	if !b.spend(path) {
		return
	}
	switch v.Kind {
	case unstable.Array:
		children := v.Children()
		for i := 0; children.Next(); {
			c := children.Node()
			if c.Kind == unstable.Comment {
				continue
			}
			child := &position{line: p.line}
			if c.Raw.Length > 0 {
				child.line = b.line(int(c.Raw.Offset))
			}
			p.items = append(p.items, child)
			b.tomlValue(child, item(path, i), c)
			i++
		}
	case unstable.InlineTable:
		children := v.Children()
		for children.Next() {
			if c := children.Node(); c.Kind == unstable.KeyValue {
				b.tomlPair(p, path, c)
			}
		}
	default:
		// A scalar has nothing below it.
	}
}

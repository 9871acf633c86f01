package config

import (
	"fmt"
	"reflect"
)

// decoder fills the raw types from the values that viper read, and compares
// them with the positions for what viper forgets.
type decoder struct {
	*report
}

// section fills a struct of raw fields. at is nil where the environment made
// the section and the file has nothing to compare with.
func (d *decoder) section(dst reflect.Value, values map[string]any, at *position, path string) {
	d.unknown(dst.Type(), at, path)
	for i := range dst.NumField() {
		key := dst.Type().Field(i).Tag.Get("key")
		if key == "" {
			continue
		}
		var here *position
		if at != nil {
			here = at.fields[key]
		}
		v, ok := values[key]
		if !ok && here == nil {
			continue
		}
		if !ok && !here.null {
			v = map[string]any{} // An empty section, which viper drops.
		}
		d.value(dst.Field(i), v, here, join(path, key))
	}
}

func (d *decoder) value(dst reflect.Value, v any, at *position, path string) {
	switch t := dst.Addr().Interface().(type) {
	case *[]rawUplink:
		d.uplinks(t, v, at, path)
	case *[]rawAnnounce:
		d.announcements(t, v, at, path)
	case shorthand:
		d.shorthand(t, dst, v, at, path)
	case switched:
		d.switched(t, dst, v, at, path)
	case scalar:
		if err := t.set(v); err != nil {
			d.add(path, "%v", err)
		}
	case list:
		d.list(t, v, path)
	default:
		values, ok := fieldsOf(v)
		if !ok {
			d.add(path, "%s is not a section; write its keys below it", describe(v))
			return
		}
		d.section(dst, values, at, path)
	}
}

// switched fills a section that can be turned on and off.
func (d *decoder) switched(t switched, dst reflect.Value, v any, at *position, path string) {
	if values, ok := fieldsOf(v); ok {
		t.switchTo(true)
		d.section(dst, values, at, path)
		return
	}
	var on flag
	if err := on.set(v); err != nil {
		d.add(path, "%s is neither a section nor true or false; write the keys of %s below it", describe(v), path)
		return
	}
	t.switchTo(on.value)
}

// shorthand fills a section that may be written as the value of one key.
func (d *decoder) shorthand(t shorthand, dst reflect.Value, v any, at *position, path string) {
	if n, ok := t.(noted); ok {
		n.note()
	}
	if v == nil {
		d.add(path, "%v", errNoValue)
		return
	}
	values, ok := fieldsOf(v)
	if !ok {
		for i := range dst.NumField() {
			if dst.Type().Field(i).Tag.Get("key") == t.short() {
				d.value(dst.Field(i), v, nil, path)
				if d.seen[path] {
					d.seen[join(path, t.short())] = true
				}
			}
		}
		return
	}
	d.section(dst, values, at, path)
}

func (d *decoder) list(t list, v any, path string) {
	t.begin()
	values, ok := v.([]any)
	if !ok {
		if v == nil {
			d.add(path, "%v", errNoValue)
			return
		}
		values = []any{v}
	}
	if len(values) == 0 {
		d.add(path, "is an empty list; write a value, or remove the key to get the default")
	}
	for i, v := range values {
		if err := t.add(v); err != nil {
			d.add(item(path, i), "%v", err)
		}
	}
}

func (d *decoder) uplinks(dst *[]rawUplink, v any, at *position, path string) {
	values, ok := v.([]any)
	switch {
	case !ok && v == nil:
		return // Validate says that there are none.
	case !ok:
		d.add(path, `%s is not a list; write each uplink as "- name: …" with its keys below`, describe(v))
		return
	case len(values) > maxUplinks:
		d.add(path, "there are %d uplinks; at most %d are possible", len(values), maxUplinks)
		return
	}
	*dst = make([]rawUplink, len(values))
	for i, v := range values {
		var here *position
		if at != nil && i < len(at.items) {
			here = at.items[i]
		}
		p := item(path, i)
		fields, ok := fieldsOf(v)
		if !ok || v == nil {
			d.add(p, `%s is not an uplink; write "- name: …" with its keys below`, describe(v))
			// What it lacks follows from that.
			d.seen[join(p, "name")], d.seen[join(p, "interface")] = true, true
			continue
		}
		d.section(reflect.ValueOf(&(*dst)[i]).Elem(), fields, here, p)
	}
}

// announcements fills the list of our own prefixes; one may stand without a list.
func (d *decoder) announcements(dst *[]rawAnnounce, v any, at *position, path string) {
	values, ok := v.([]any)
	switch {
	case v == nil:
		d.add(path, "%v", errNoValue)
		return
	case !ok:
		*dst = make([]rawAnnounce, 1)
		d.value(reflect.ValueOf(&(*dst)[0]).Elem(), v, at, item(path, 0))
		return
	case len(values) == 0:
		d.add(path, "is an empty list; write a prefix of yours, or remove the key to announce nothing")
		return
	case len(values) > maxAnnouncements:
		d.add(path, "there are %d prefixes; at most %d are possible", len(values), maxAnnouncements)
		return
	}
	*dst = make([]rawAnnounce, len(values))
	for i, v := range values {
		var here *position
		if at != nil && i < len(at.items) {
			here = at.items[i]
		}
		d.value(reflect.ValueOf(&(*dst)[i]).Elem(), v, here, item(path, i))
	}
}

// unknown refuses the keys of the file that the section does not have.
func (d *decoder) unknown(section reflect.Type, at *position, path string) {
	if at == nil {
		return
	}
	known := keysOf(section)
	for _, name := range at.order() {
		f := at.fields[name]
		if known[name] {
			continue
		}
		meant, advice := advise(name, path, known)
		if why := openSecret(name, known); why != "" {
			meant, advice = "", why
		}
		d.addAt(f.line, join(path, f.key), "unknown key; %s", advice)
		if meant != "" && at.fields[meant] == nil {
			// It is misspelt, not missing: one message is enough.
			d.seen[join(path, meant)] = true
		}
	}
}

// fieldsOf returns a section as a map; an empty section may be nothing at all.
func fieldsOf(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case map[string]any:
		return v, true
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, v := range v {
			m[fmt.Sprint(k)] = v
		}
		return m, true
	}
	return nil, false
}

// keysOf returns the keys of a section.
func keysOf(section reflect.Type) map[string]bool {
	keys := map[string]bool{}
	for i := range section.NumField() {
		if key := section.Field(i).Tag.Get("key"); key != "" {
			keys[key] = true
		}
	}
	return keys
}

// schemaKey is one key that the decoder knows.
type schemaKey struct {
	// steps lead to the key; "[]" stands for any entry of a list.
	steps []string
	// many is set where a list is taken, section where keys are below.
	many, section bool
}

// schema lists every key of the file, sections included, in the order of the
// raw types.
func schema() []schemaKey {
	return schemaOf(reflect.TypeFor[rawConfig](), nil)
}

func schemaOf(section reflect.Type, above []string) []schemaKey {
	var keys []schemaKey
	for i := range section.NumField() {
		f := section.Field(i)
		key := f.Tag.Get("key")
		if key == "" {
			continue
		}
		steps := append(append([]string{}, above...), key)
		switch reflect.New(f.Type).Interface().(type) {
		case *[]rawUplink:
			keys = append(keys, schemaKey{steps: steps, section: true})
			keys = append(keys, schemaOf(f.Type.Elem(), append(steps, "[]"))...)
		case *[]rawAnnounce:
			keys = append(keys, schemaKey{steps: steps, many: true})
			keys = append(keys, schemaOf(f.Type.Elem(), append(steps, "[]"))...)
		case shorthand:
			keys = append(keys, schemaKey{steps: steps})
			keys = append(keys, schemaOf(f.Type, steps)...)
		case switched:
			keys = append(keys, schemaKey{steps: steps, section: true})
			keys = append(keys, schemaOf(f.Type, steps)...)
		case scalar:
			keys = append(keys, schemaKey{steps: steps})
		case list:
			keys = append(keys, schemaKey{steps: steps, many: true})
		default:
			keys = append(keys, schemaKey{steps: steps, section: true})
			keys = append(keys, schemaOf(f.Type, steps)...)
		}
	}
	return keys
}

// String prints the key as a path: uplinks[].icmp.quorum.
func (k schemaKey) String() string {
	path := ""
	for _, s := range k.steps {
		if s == "[]" {
			path += s
		} else {
			path = join(path, s)
		}
	}
	return path
}

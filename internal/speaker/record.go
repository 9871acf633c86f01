package speaker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// NewLog returns the log of a child, which writes to w, its stderr, what the daemon
// reads there. Values that are neither numbers nor text are written as slog's text
// handler does, by their String methods where they have one: in JSON a secret within a
// struct would show.
func NewLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		// What the daemon does not log is left out by Serve.
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			// The level is of that kind too, and slog.JSONHandler knows how to write it.
			if _, level := a.Value.Any().(slog.Level); a.Value.Kind() == slog.KindAny && !level {
				a.Value = slog.StringValue(fmt.Sprintf("%+v", a.Value.Any()))
			}
			return a
		},
	}))
}

// parseRecord reads a line as slog.JSONHandler writes it.
func parseRecord(line []byte) (slog.Record, bool) {
	if len(line) == 0 || line[0] != '{' {
		return slog.Record{}, false
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return slog.Record{}, false
	}
	attrs, err := parseAttrs(d, 0)
	if err != nil {
		return slog.Record{}, false
	}
	var (
		level slog.Level
		at    time.Time
		msg   string
		rest  []slog.Attr
		seen  int
	)
	for _, a := range attrs {
		text := a.Value.String()
		switch a.Key {
		case slog.TimeKey:
			at, err = time.Parse(time.RFC3339Nano, text)
		case slog.LevelKey:
			err = level.UnmarshalText([]byte(text))
		case slog.MessageKey:
			msg = text
		default:
			rest = append(rest, a)
			continue
		}
		if err != nil {
			return slog.Record{}, false
		}
		seen++
	}
	if seen != 3 {
		return slog.Record{}, false
	}
	r := slog.NewRecord(at, level, msg, 0)
	r.AddAttrs(rest...)
	return r, true
}

// errNoRecord says that a line is not what slog.JSONHandler writes.
var errNoRecord = errors.New("no record")

// maxDepth bounds groups within groups.
const maxDepth = 8

// parseAttrs reads the members of an object in their order, and its end.
func parseAttrs(d *json.Decoder, depth int) ([]slog.Attr, error) {
	var attrs []slog.Attr
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errNoRecord
		}
		v, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, slog.Attr{Key: name, Value: v})
	}
	_, err := d.Token()
	return attrs, err
}

func parseValue(d *json.Decoder, depth int) (slog.Value, error) {
	if depth > maxDepth {
		return slog.Value{}, errNoRecord
	}
	t, err := d.Token()
	if err != nil {
		return slog.Value{}, err
	}
	switch t := t.(type) {
	case string:
		return slog.StringValue(t), nil
	case bool:
		return slog.BoolValue(t), nil
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return slog.Int64Value(n), nil
		}
		f, err := t.Float64()
		return slog.Float64Value(f), err
	case json.Delim:
		if t == '{' {
			attrs, err := parseAttrs(d, depth+1)
			return slog.GroupValue(attrs...), err
		}
		var list []string
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return slog.Value{}, err
			}
			list = append(list, v.String())
		}
		_, err := d.Token()
		return slog.AnyValue(list), err
	default:
		return slog.AnyValue(nil), nil
	}
}

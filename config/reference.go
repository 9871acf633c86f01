package config

import _ "embed"

//go:generate cp reference.yaml ../examples/reference.yaml

//go:embed reference.yaml
var reference string

// Reference returns a complete configuration in YAML in which each key is
// explained, with its default, unit and range. It loads as it stands;
// examples/reference.yaml is a copy.
func Reference() string { return reference }

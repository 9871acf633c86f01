// Package config reads the configuration of multihomed: a YAML, TOML or JSON
// file, with overrides from the environment, into one typed and validated
// [Config].
//
// # The way of the data
//
//	file ─▶ viper (formats, environment) ─▶ strict decode ─▶ defaults ─▶ Validate ─▶ Config
//
// Nothing is guessed in silence. Unknown keys are refused with the nearest known
// one, and all problems of a file are reported at once ([Problems]), each with
// file, line, key path and what to write instead. A Config that Load returned
// is complete: every default is filled in and every number is in range.
//
// [Watch] reports when the file may have changed; it never applies anything.
//
// The package stands on its own: it imports no other package of this module.
package config

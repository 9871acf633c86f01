// Package config reads the configuration of multihomed: a YAML, TOML or JSON
// file, with overrides from the environment, into one typed and validated
// [Config].
//
// # The way of the data
//
//	file ─▶ viper (formats) ─▶ environment ─▶ strict decode ─▶ defaults ─▶ Validate ─▶ Config
//	     └▶ positions (lines, duplicates, spelling of keys) ──┘
//
// Nothing is guessed in silence. Unknown keys are refused with the nearest known
// one, and all problems of a file are reported at once ([Problems]), each with
// file, line, key path and what to write instead. A Config that Load returned
// is complete: every default is filled in and every number is in range.
//
// viper does not keep lines, spelling and empty sections, and reads the
// environment of the process only; a second pass over the text notes where
// everything stands, and the variables are applied here, so that [Parse] depends
// on its arguments alone (and on the working directory, where a relative path
// stands in a file whose own name is relative). A variable is MULTIHOMED_ and the path of a key, such
// as MULTIHOMED_HOLD_UP; an uplink is named by its position from 0 or by its
// name: MULTIHOMED_UPLINKS_0_WEIGHT, MULTIHOMED_UPLINKS_FIBER_WEIGHT.
//
// # Goroutines and blocking
//
// The package starts no goroutine of its own but those of fsnotify. [Load] blocks
// on the file system, [Watch] until its context ends; everything else is pure.
//
// [Watch] reports when the file may have changed; it never applies anything.
//
// The package stands on its own: it imports no other package of this module.
package config

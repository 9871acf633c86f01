package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/internal/status"
)

func statusCommand() *cobra.Command {
	var socket, format string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every uplink, its verdict and why",
		Long: `Status asks the running daemon for every uplink and family: the verdict, since when,
every piece of evidence with its reason, round-trip time and loss, weight and share,
table and mark; then what strangers changed in the kernel and the last change.`,
		Example: `  multihomed status
  multihomed status --watch
  multihomed status -o json | jq '.uplinks[].ways[] | select(.verdict != "live")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := printer(cmd.OutOrStdout(), format, watch)
			if err != nil {
				return err
			}
			client := status.Dial(socket)
			if watch {
				err = client.Watch(cmd.Context(), show)
				if interrupted := cmd.Context().Err() != nil; interrupted {
					err = nil // The user has seen enough.
				}
			} else {
				var s status.Status
				if s, err = client.Get(cmd.Context()); err == nil {
					err = show(s)
				}
			}
			if errors.Is(err, status.ErrNotRunning) {
				return &exitError{exitNoDaemon, err}
			}
			return failure(err)
		},
	}
	socketFlag(cmd, &socket)
	cmd.Flags().StringVarP(&format, "output", "o", "table", "`format`: table or json")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, showing each change")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag was defined above.
	}
	return cmd
}

// printer returns the function that prints one document in format.
func printer(w io.Writer, format string, watch bool) (func(status.Status) error, error) {
	color := isTerminal(w)
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		if !watch {
			enc.SetIndent("", "  ")
		}
		return func(s status.Status) error { return enc.Encode(s) }, nil
	case "table":
		return func(s status.Status) error {
			if watch && color {
				if _, err := io.WriteString(w, "\x1b[H\x1b[2J"); err != nil {
					return err
				}
			}
			return status.Table(w, s, status.TableOptions{Color: color})
		}, nil
	default:
		return nil, &exitError{exitUsage, fmt.Errorf("output format %q: use table or json", format)}
	}
}

// isTerminal reports whether w is a terminal that a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/internal/status"
)

func routesCommand() *cobra.Command {
	var socket, format string
	var longer bool
	var limit int
	cmd := &cobra.Command{
		Use:   "routes [PREFIX]",
		Short: "Show the paths that BGP brings, and why each is used or not",
		Long: `Routes asks the running daemon for the paths of a prefix as each ISP offers them: the
AS path, what ranks it, its rank, and why it is used, or refused. A star marks the paths
that carry traffic.

PREFIX is looked for exactly; if nobody offers it, the longest prefix that covers it is
shown, so that an address answers which route it takes. --longer shows all that lies in
it instead. Without PREFIX, everything is shown.`,
		Example: `  multihomed routes 192.0.2.1
  multihomed routes 0.0.0.0/0
  multihomed routes 198.51.0.0/16 --longer --limit 50
  multihomed routes 2001:db8::/32 -o json | jq '.routes[].paths[] | select(.rank == "none") | .why'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show, err := routePrinter(cmd.OutOrStdout(), format)
			if err != nil {
				return err
			}
			if limit < 1 || limit > status.MaxRoutes {
				return &exitError{exitUsage, fmt.Errorf("limit %d: write 1 to %d; for all routes of the kernel there is `ip route show table`", limit, status.MaxRoutes)}
			}
			var prefix netip.Prefix
			if len(args) > 0 {
				if prefix, err = status.ParsePrefix(args[0]); err != nil {
					return &exitError{exitUsage, err}
				}
			}
			list, err := status.Dial(socket).Routes(cmd.Context(), prefix, longer, limit)
			if err != nil {
				return answered(err)
			}
			return failure(show(list))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	socketFlag(cmd, &socket)
	cmd.Flags().BoolVar(&longer, "longer", false, "show all prefixes that lie in PREFIX")
	cmd.Flags().IntVar(&limit, "limit", status.DefaultRoutes, fmt.Sprintf("show at most `N` prefixes, 1 to %d", status.MaxRoutes))
	cmd.Flags().StringVarP(&format, "output", "o", "text", "`format`: text or json")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag was defined above.
	}
	return cmd
}

// routePrinter returns the function that prints an answer in format.
func routePrinter(w io.Writer, format string) (func(status.RouteList) error, error) {
	switch format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return func(l status.RouteList) error { return enc.Encode(l) }, nil
	case "text":
		return func(l status.RouteList) error {
			if len(l.Routes) == 0 {
				_, err := fmt.Fprintln(w, "no path is known, neither of this prefix nor of one that covers it")
				return err
			}
			return status.RouteTable(w, l, time.Now(), status.TableOptions{Color: isTerminal(w)})
		}, nil
	default:
		return nil, &exitError{exitUsage, fmt.Errorf("output format %q: use text or json", format)}
	}
}

// answered gives the error of a question to the daemon its exit code, and says what to
// do where the daemon's words do not.
func answered(err error) error {
	switch {
	case errors.Is(err, status.ErrNotRunning):
		return &exitError{exitNoDaemon, err}
	case errors.Is(err, status.ErrUnknownUplink):
		return &exitError{exitUsage, err}
	case errors.Is(err, status.ErrNotSpeaking):
		return failure(fmt.Errorf("%w; see `multihomed status`", err))
	case errors.Is(err, status.ErrNoBGP):
		return failure(fmt.Errorf("%w: paths come from BGP; see docs/configuration.md for how to write bgp, and `ip route show table 221` for the balanced default", err))
	default:
		return failure(err)
	}
}

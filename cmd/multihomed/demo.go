package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/internal/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch failovers in a lab of network namespaces",
		Long: `Demo builds a small network in namespaces of its own (a LAN host, an edge running this
very daemon, two ISPs, a destination behind both), sends real traffic, cuts and
restores the uplinks, and prints what the flows saw. It needs no setup, touches
nothing outside its namespaces and cleans up after itself. As an ordinary user it
works inside a user namespace. It exits with 0 only if every failover and every
return really happened.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return failure(err)
			}
			o.Out, o.Exe = cmd.OutOrStdout(), exe
			return failure(demo.Run(cmd.Context(), o))
		},
	}
	return cmd
}

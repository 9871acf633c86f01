package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Check a configuration file",
		Long: `Check reads a configuration file and reports every problem in it, each with its line
and what to write instead. It looks at the file only, not at the machine.`,
		Example: "  multihomed check --config /etc/multihomed.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			for _, w := range c.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %d uplinks\n", path, len(c.Uplinks))
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}

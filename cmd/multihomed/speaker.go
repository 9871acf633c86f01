package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/internal/speaker"
)

// speakerCommand is what the daemon starts for BGP: package speaker says why it is a
// process of its own.
func speakerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    speaker.Command,
		Short:  "Speak BGP for a daemon (started by run, not by hand)",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			daemon, err := speaker.Inherited()
			if err != nil {
				return failure(err)
			}
			log := speaker.NewLog(cmd.ErrOrStderr())
			speaker.Settle(log)
			// Signals say nothing to a speaker: it ends when the daemon hangs up.
			return failure(speaker.Serve(context.WithoutCancel(cmd.Context()), daemon, log))
		},
	}
}

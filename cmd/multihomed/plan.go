package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/engine"
	"github.com/multihomed/multihomed/internal/netmon"
)

func planCommand() *cobra.Command {
	var path string
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "plan --config FILE",
		Short: "Show what run would write to the kernel, and write nothing",
		Long: `Plan prints the exact writes that turn the kernel's present state into the one that
the configuration asks for, as ip commands in the order of their execution. It
prints nothing where the kernel is equal. Which uplinks are dead is taken from the
kernel where a daemon has left its verdict, and from links and addresses otherwise.`,
		Example: "  multihomed plan --config /etc/multihomed.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			k, err := fib.OpenNetlink()
			if err != nil {
				return failure(err)
			}
			defer closeKernel(cmd.ErrOrStderr(), k)
			s, err := lookOnce(cmd.Context(), engine.Watch(c))
			if err != nil {
				return failure(err)
			}
			ops, problems, err := engine.Plan(cmd.Context(), c, k, s)
			if err != nil {
				return failure(err)
			}
			for _, p := range problems {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", p)
			}
			for _, op := range ops {
				fmt.Fprintln(cmd.OutOrStdout(), op)
			}
			if exitCode && len(ops) > 0 {
				return &exitError{code: exitDiffers}
			}
			return nil
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 if the kernel differs")
	return cmd
}

// closeKernel closes k; what was done is done, so a failure is only told.
func closeKernel(stderr io.Writer, k *fib.Netlink) {
	if err := k.Close(); err != nil {
		complain(stderr, err)
	}
}

// lookOnce reads the host's links, addresses and foreign default routes once.
func lookOnce(ctx context.Context, watch netmon.Config) (*netmon.Snapshot, error) {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	looked := make(chan struct{}, 1)
	m := netmon.New(watch, netmon.Options{
		Log: slog.New(slog.DiscardHandler),
		Poke: func() {
			select {
			case looked <- struct{}{}:
			default:
			}
		},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	defer func() { <-done }()
	defer stop()
	for {
		if s, ok := m.Snapshot(); ok {
			return s, nil
		}
		select {
		case <-looked:
		case <-ctx.Done():
			return nil, errors.New("look at the host: the kernel does not answer in 10 s")
		}
	}
}

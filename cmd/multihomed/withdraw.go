package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/engine"
	"github.com/multihomed/multihomed/internal/status"
)

func withdrawCommand() *cobra.Command {
	var path, socket string
	cmd := &cobra.Command{
		Use:   "withdraw --config FILE",
		Short: "Remove everything that is ours from the kernel and restore its settings",
		Long: `Withdraw removes every rule, route, next-hop group and next hop that carries our
protocol number in our ranges, and gives back the sysctls that the daemon changed.
Foreign objects are not touched. It refuses to work while a daemon is running, which
would write everything again: stop the daemon first.`,
		Example: "  systemctl stop multihomed && multihomed withdraw --config /etc/multihomed.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(path)
			if err != nil {
				return err
			}
			if _, err := status.Dial(socket).Get(cmd.Context()); err == nil {
				return failure(fmt.Errorf("a daemon answers on %s and would write everything again; stop it first", socket))
			}
			if err := missingRights(); err != nil {
				return failure(err)
			}
			k, err := fib.OpenNetlink()
			if err != nil {
				return failure(err)
			}
			defer closeKernel(cmd.ErrOrStderr(), k)
			ops, err := engine.Withdraw(cmd.Context(), c, k)
			for _, op := range ops {
				fmt.Fprintln(cmd.OutOrStdout(), op)
			}
			if err != nil {
				return failure(fmt.Errorf("withdraw: %w", err))
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return failure(engine.GiveBackSysctls(k, sysctlFile(socket), log))
		},
	}
	configFlag(cmd, &path)
	socketFlag(cmd, &socket)
	return cmd
}

func socketFlag(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVarP(socket, "socket", "s", defaultSocket, "unix `socket` of the daemon")
}

// sysctlFile is where the daemon with this socket remembers the sysctls that it
// changed.
func sysctlFile(socket string) string {
	return filepath.Join(filepath.Dir(socket), filepath.Base(socket)+".sysctls")
}

package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/engine"
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
			if err := missingRights(); err != nil {
				return failure(err)
			}
			release, err := lockNamespace(c.Protocol)
			if err != nil {
				return failure(err)
			}
			defer func() { _ = release() }() // The process ends here anyway.
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
			if err := engine.GiveBackSysctls(k, sysctlFile(socket), log); err != nil {
				return failure(err)
			}
			for name, value := range engine.SysctlsStillOurs(k) {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s is still %s, and beside %s nothing tells what it was: "+
					"if the daemon ran with another --socket, withdraw with the same one\n", name, value, socket)
			}
			return nil
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

// memoryFile is where the daemon with this socket remembers which uplinks are drained.
func memoryFile(socket string) string {
	return filepath.Join(filepath.Dir(socket), filepath.Base(socket)+".drains")
}

// Multihomed keeps a Linux machine with several uplinks connected: it watches
// each uplink, decides which are live, and keeps weighted multipath and
// per-source tables in the kernel equal to that.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/config"
)

// Exit codes. They are part of the interface; see docs/operations.md.
const (
	exitOK = 0
	// exitFailure: something failed at run time.
	exitFailure = 1
	// exitUsage: the command line or the configuration is wrong.
	exitUsage = 2
	// exitDiffers: plan --exit-code found that the kernel differs.
	exitDiffers = 3
	// exitNoDaemon: no daemon answers on the socket.
	exitNoDaemon = 4
)

const defaultSocket = "/run/multihomed/multihomed.sock"

// version is set by the linker.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitError carries an exit code with an error; a nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var coded *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		if coded.err != nil {
			complain(stderr, coded.err)
		}
		return coded.code
	default:
		// What cobra itself returns is about the command line.
		complain(stderr, err)
		fmt.Fprintf(stderr, "Run 'multihomed --help' for the commands and their flags.\n")
		return exitUsage
	}
}

func complain(w io.Writer, err error) { fmt.Fprintf(w, "multihomed: %v\n", err) }

// failure marks err as a failure at run time.
func failure(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitFailure, err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "multihomed",
		Short: "Keep a machine with several uplinks connected",
		Long: `multihomed watches each uplink of this machine, decides which are live, and keeps
weighted multipath and per-source routing tables in the kernel equal to that.

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration,
3 the kernel differs (plan --exit-code), 4 no daemon answers (status, routes, drain).`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(runCommand(), checkCommand(), planCommand(), statusCommand(), routesCommand(), drainCommand(), undrainCommand(),
		withdrawCommand(), demoCommand(), speakerCommand(), versionCommand())
	return root
}

// configFlag adds --config, which is required.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", "configuration `file` (.yaml, .toml or .json)")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // The flag was defined on the line above.
	}
	if err := cmd.MarkFlagFilename("config", "yaml", "yml", "toml", "json"); err != nil {
		panic(err)
	}
}

// load reads a configuration; a wrong one is the caller's exit code 2.
func load(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return c, nil
}

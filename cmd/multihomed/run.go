package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/fib"
	"github.com/multihomed/multihomed/internal/engine"
	"github.com/multihomed/multihomed/internal/netmon"
	"github.com/multihomed/multihomed/internal/probe"
	"github.com/multihomed/multihomed/internal/status"
)

// withdrawLimit bounds the clean-up at a stop with on-exit: withdraw.
const withdrawLimit = 30 * time.Second

func runCommand() *cobra.Command {
	var d daemon
	var level, format string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the daemon",
		Long: `Run watches the uplinks and keeps the kernel equal to the verdicts until it gets
SIGTERM or SIGINT. It reads the configuration again on SIGHUP and when the file
changes; a bad file changes nothing and is reported. What is in the kernel stays
there at the end, unless the configuration says "on-exit: withdraw".`,
		Example: `  multihomed run --config /etc/multihomed.yaml
  multihomed run --config test.yaml --socket /tmp/mh.sock --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level, format)
			if err != nil {
				return err
			}
			d.log = log
			return d.run(cmd.Context())
		},
	}
	configFlag(cmd, &d.path)
	socketFlag(cmd, &d.socket)
	cmd.Flags().StringVar(&level, "log-level", "info", "`level`: debug, info, warn or error")
	cmd.Flags().StringVar(&format, "log-format", "text", "`format`: text or json")
	for flag, values := range map[string][]string{
		"log-level": {"debug", "info", "warn", "error"}, "log-format": {"text", "json"},
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // The flags were defined above.
		}
	}
	return cmd
}

func newLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("log level %q: use debug, info, warn or error", level)}
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, &exitError{exitUsage, fmt.Errorf("log format %q: use text or json", format)}
	}
}

// daemon is what run was asked for.
type daemon struct {
	path, socket string
	log          *slog.Logger
}

// run lists the parts of the daemon from top to bottom. The engine ends first;
// the kernel is closed last.
func (d *daemon) run(ctx context.Context) error {
	c, err := load(d.path)
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
	defer func() {
		if err := release(); err != nil {
			d.log.Warn("cannot release the network namespace", "error", err)
		}
	}()
	for _, w := range c.Warnings {
		d.log.Warn("configuration", "reason", w)
	}
	kernel, err := fib.OpenNetlink(fib.WithLogger(d.log))
	if err != nil {
		return failure(err)
	}
	defer func() {
		if err := kernel.Close(); err != nil {
			d.log.Warn("cannot close netlink", "error", err)
		}
	}()

	engine.TuneRuntime()
	var server *status.Server
	e := engine.New(engine.Options{
		Config: c, Path: d.path, Kernel: kernel, Log: d.log, Version: version,
		NewMonitor: func(c netmon.Config, poke func()) engine.Monitor {
			return netmon.New(c, netmon.Options{Log: d.log, Poke: poke})
		},
		NewProber: func(c probe.Config, report func(probe.Report)) engine.Prober {
			return probe.New(c, report, d.log)
		},
		Bulk: kernel, Buckets: kernel.Buckets, Memory: memoryFile(d.socket),
		Changed: func() { server.Changed() },
		Ready:   func() { notifySystemd(d.log, "READY=1") },
	})
	if server, err = status.NewServer(d.socket, e.Status, d.log,
		status.WithRoutes(e.Routes), status.WithDrainer(status.Drainer{Drain: e.Drain, Undrain: e.Undrain})); err != nil {
		return failure(err)
	}
	if err := engine.TakeSysctls(kernel, sysctlFile(d.socket), d.log); err != nil {
		d.log.Warn("cannot set a sysctl; failover of many routes will be slower", "error", err)
	}
	d.log.Info("multihomed starts", "version", version, "config", d.path, "uplinks", len(c.Uplinks), "socket", d.socket)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return e.Run(ctx) })
	tasks.Go(func() error { return server.Run(ctx) })
	tasks.Go(func() error { d.reloadOnDemand(ctx, e); return nil })
	err = tasks.Wait()
	notifySystemd(d.log, "STOPPING=1")
	return failure(errors.Join(err, d.leave(e, kernel)))
}

// leave does what the configuration in use says about a clean stop.
func (d *daemon) leave(e *engine.Engine, kernel *fib.Netlink) error {
	if e.Config().OnExit != config.Withdraw {
		d.log.Info("multihomed stops; everything stays in the kernel")
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), withdrawLimit)
	defer stop()
	ops, err := engine.Withdraw(ctx, e.Config(), kernel)
	d.log.Info("multihomed stops; everything was withdrawn", "ops", len(ops))
	return errors.Join(err, engine.GiveBackSysctls(kernel, sysctlFile(d.socket), d.log))
}

// reloadOnDemand reads the configuration again on SIGHUP and when the file
// changes, until ctx ends.
func (d *daemon) reloadOnDemand(ctx context.Context, e *engine.Engine) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	changed := make(chan struct{}, 1)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		config.Watch(ctx, d.path, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		}, d.log)
	}()
	defer func() { <-watching }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		case <-changed:
		}
		c, err := config.Load(d.path)
		if err != nil {
			d.log.Error("the new configuration is not used; the old one goes on", "config", d.path, "error", err)
			e.ReloadFailed(ctx, err)
			continue
		}
		for _, w := range c.Warnings {
			d.log.Warn("configuration", "reason", w)
		}
		e.Reload(ctx, c)
	}
}

// notifySystemd tells the service manager, if there is one (sd_notify(3)).
func notifySystemd(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		log.Warn("cannot notify systemd", "error", err)
	}
}

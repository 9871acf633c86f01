package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/multihomed/multihomed/config"
	"github.com/multihomed/multihomed/internal/status"
)

// usualConfig is where the unit has its configuration; names are completed from it
// where no daemon answers.
const usualConfig = "/etc/multihomed/multihomed.yaml"

// completeLimit bounds the wait for names: a shell that hangs is worse than no names.
const completeLimit = time.Second

// drainFlags are what drain and undrain have in common.
type drainFlags struct {
	socket, family string
}

func drainCommand() *cobra.Command {
	var f drainFlags
	var duration time.Duration
	var force bool
	cmd := &cobra.Command{
		Use:   "drain NAME",
		Short: "Move the traffic away from an uplink, gently",
		Long: `Drain takes an uplink out of use without breaking what runs on it: new flows take the
others, established ones stay until they are idle. With BGP, the ISP is told by graceful
shutdown (RFC 8326), so that what comes in moves as well; when no flow is left, or after
bgp.drain-time, the session is ended. A drain lasts until undrain, also over a restart
of the daemon, or for the time that --for says.

An uplink that nothing could take over from is not drained, unless --force says so.`,
		Example: `  multihomed drain fiber
  multihomed drain fiber --for 2h
  multihomed drain fiber --family ipv6
  multihomed undrain fiber`,
		Args: oneUplink,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("for") && duration < time.Second {
				return &exitError{exitUsage, fmt.Errorf("--for %v: write 1s or more, such as 2h, or leave it out to drain until undrain", duration)}
			}
			q := status.DrainRequest{Uplink: args[0], For: duration.Seconds(), Force: force}
			return f.ask(cmd, q, "drained", status.Dial(f.socket).Drain)
		},
		ValidArgsFunction: f.complete,
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&duration, "for", 0, "undrain by itself after this `time`, such as 2h")
	cmd.Flags().BoolVar(&force, "force", false, "drain also the last uplink that is live")
	return cmd
}

func undrainCommand() *cobra.Command {
	var f drainFlags
	cmd := &cobra.Command{
		Use:   "undrain NAME",
		Short: "Use a drained uplink again",
		Long: `Undrain ends a drain: the uplink takes its share of the new flows at once if its evidence
is good, its session is begun again, and the ISP is told as before.`,
		Example: `  multihomed undrain fiber
  multihomed undrain fiber --family ipv6`,
		Args: oneUplink,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.ask(cmd, status.DrainRequest{Uplink: args[0]}, "undrained", status.Dial(f.socket).Undrain)
		},
		ValidArgsFunction: f.complete,
	}
	f.add(cmd)
	return cmd
}

func (f *drainFlags) add(cmd *cobra.Command) {
	socketFlag(cmd, &f.socket)
	cmd.Flags().StringVar(&f.family, "family", "", "only this `family`: ipv4 or ipv6")
	if err := cmd.RegisterFlagCompletionFunc("family", cobra.FixedCompletions([]string{"ipv4", "ipv6"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag was defined on the line above.
	}
}

// oneUplink wants one name.
func oneUplink(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &exitError{exitUsage, errors.New("name one uplink, such as: multihomed drain fiber; `multihomed status` lists them")}
	}
	return nil
}

// ask sends q and prints what came of it.
func (f *drainFlags) ask(cmd *cobra.Command, q status.DrainRequest, done string, send func(context.Context, status.DrainRequest) (status.DrainAnswer, error)) error {
	switch f.family {
	case "", "ipv4", "ipv6":
		q.Family = f.family
	default:
		return &exitError{exitUsage, fmt.Errorf("family %q: use ipv4 or ipv6, or leave it out for both", f.family)}
	}
	answer, err := send(cmd.Context(), q)
	switch {
	case errors.Is(err, status.ErrLastUplink):
		return failure(fmt.Errorf("%w (--force)", err))
	case err != nil:
		return answered(err)
	}
	for _, w := range answer.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
	}
	text := strings.Join(answer.Ways, ", ") + ": " + done
	if !answer.Until.IsZero() {
		text += " until " + answer.Until.Local().Format(time.DateTime)
	}
	_, err = io.WriteString(cmd.OutOrStdout(), text+"\n")
	return failure(err)
}

// complete offers the names of uplinks, of the daemon if it answers and otherwise of
// the usual configuration.
func (f *drainFlags) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(cmd.Context(), completeLimit)
	defer stop()
	return uplinkNames(ctx, f.socket, usualConfig), cobra.ShellCompDirectiveNoFileComp
}

func uplinkNames(ctx context.Context, socket, file string) []string {
	var names []string
	if s, err := status.Dial(socket).Get(ctx); err == nil {
		for _, u := range s.Uplinks {
			names = append(names, u.Name)
		}
		return names
	}
	if c, err := config.Load(file); err == nil {
		for i := range c.Uplinks {
			names = append(names, c.Uplinks[i].Name)
		}
	}
	return names
}

package interop

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/multihomed/multihomed/bfd"
	"github.com/multihomed/multihomed/internal/lab"
)

// Programs, where Debian puts them.
const (
	birdPath  = "/usr/sbin/bird"
	birdcPath = "/usr/sbin/birdc"
	bfddPath  = "/usr/lib/frr/bfdd"
	zebraPath = "/usr/lib/frr/zebra"
	vtyshPath = "/usr/bin/vtysh"
)

// speakVariable makes the test program a Speaker with these sessions, for tests
// that kill one.
const speakVariable = "SPEAK_BFD_FOR_INTEROP"

func TestMain(m *testing.M) {
	if sessions := os.Getenv(speakVariable); sessions != "" {
		fmt.Fprintln(os.Stderr, speak(sessions))
		os.Exit(1)
	}
	if err := needs(birdPath, birdcPath, bfddPath, zebraPath, vtyshPath); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(lab.Main(parallel{m}))
}

// parallel runs more tests side by side than there are cores: they wait for
// timers of seconds, and compute little.
type parallel struct{ m *testing.M }

// Run runs the tests.
func (p parallel) Run() int {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	// The go command passes none by itself.
	if !chosen {
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return p.m.Run()
}

// needs tells which programs are missing, and how to get them.
func needs(programs ...string) error {
	var missing []error
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("these tests need BIRD and FRR; get them with: apt-get install -y bird2 frr\n%w", errors.Join(missing...))
}

// speak runs a Speaker until the process is killed.
func speak(sessions string) error {
	var configs []bfd.Config
	if err := json.Unmarshal([]byte(sessions), &configs); err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	speaker, err := bfd.NewSpeaker(bfd.Options{})
	if err != nil {
		return err
	}
	for _, c := range configs {
		if _, err := speaker.Open(c, func(bfd.Event) {}); err != nil {
			return err
		}
	}
	return speaker.Run(context.Background())
}

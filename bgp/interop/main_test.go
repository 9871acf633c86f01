package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/multihomed/multihomed/internal/lab"
)

// Programs, where Debian puts them.
const (
	birdPath  = "/usr/sbin/bird"
	birdcPath = "/usr/sbin/birdc"
	bgpdPath  = "/usr/lib/frr/bgpd"
	zebraPath = "/usr/lib/frr/zebra"
	vtyshPath = "/usr/bin/vtysh"
)

// speakVariable makes the test program a Speaker that takes orders.
const speakVariable = "SPEAK_BGP_FOR_INTEROP"

func TestMain(m *testing.M) {
	if os.Getenv(speakVariable) != "" {
		if err := obey(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := needs(birdPath, birdcPath, bgpdPath, zebraPath, vtyshPath); err != nil {
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
		if err := flag.Set("test.parallel", "16"); err != nil {
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

package bgp

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBrake: it is on from when what is heard is old until it is fresh, and each wait
// ends by itself.
func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b brake
		for _, step := range []struct {
			age  time.Duration
			want time.Duration
		}{
			{0, 0}, {brakeOn, 0}, {brakeOn + 1, brakeWait}, {brakeOn / 2, brakeWait}, {brakeOff, brakeWait}, {brakeOff - 1, 0},
			{brakeOn, 0}, {time.Hour, brakeWait}, {-time.Second, 0}, // a clock that was set back
		} {
			b.heard(step.age)
			begin := time.Now()
			b.wait()
			if got := time.Since(begin); got != step.want {
				t.Errorf("after something %s old: waited %s, want %s", step.age, got, step.want)
			}
		}
	})
}

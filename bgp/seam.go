package bgp

import "errors"

// ErrStopped says that the speaker has ended.
var ErrStopped = errors.New("the BGP speaker has stopped")

package fib

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Attributes of a bucket (include/uapi/linux/nexthop.h).
const (
	nhaResBucket     = 13
	nhaResBucketNHID = 3
)

// Buckets returns how many buckets of a resilient group lead to each next hop, all by
// their kernel ids. A next hop without buckets is not in it. A group that is not
// there is an error (unix.ENOENT), and so is one of another type (unix.EINVAL).
func (k *Netlink) Buckets(ctx context.Context, group uint32) (map[uint32]int, error) {
	k.reading.Lock()
	defer k.reading.Unlock()
	w := &builder{}
	nextHopHeader(w, Delete, FamilyUnknown, 0, 0)
	w.attrU32(unix.NHA_ID, group)
	buckets := map[uint32]int{}
	err := k.dump(ctx, &k.reader, request{kind: unix.RTM_GETNEXTHOPBUCKET, body: w.b}, func() { clear(buckets) }, func(h header, body []byte) error {
		if h.kind != unix.RTM_NEWNEXTHOPBUCKET {
			return malformed("message type %d among buckets", h.kind)
		}
		id, err := decodeBucket(body)
		buckets[id]++
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list buckets of group %d: %w", group, err)
	}
	return buckets, nil
}

// decodeBucket returns the next hop that a bucket leads to.
func decodeBucket(body []byte) (uint32, error) {
	if len(body) < nextHopHeaderLen {
		return 0, malformed("a bucket of %d bytes", len(body))
	}
	a, err := parseAttributes(body[nextHopHeaderLen:])
	if err != nil {
		return 0, fmt.Errorf("read bucket: %w", err)
	}
	nested, err := parseAttributes(a.value[nhaResBucket])
	if err != nil {
		return 0, fmt.Errorf("read bucket: %w", err)
	}
	id, err := nested.uint32(nhaResBucketNHID)
	if err == nil && id == 0 {
		err = malformed("a bucket without next hop")
	}
	return id, err
}

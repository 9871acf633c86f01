package speaker

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/multihomed/multihomed/bgp"
)

// full returns a T of which nothing is left at its zero value, so that a field that
// does not survive the wire shows.
func full[T any](t *testing.T) T {
	t.Helper()
	var v T
	n := 0
	fill(t, reflect.ValueOf(&v).Elem(), &n)
	return v
}

func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case netip.Addr:
		addrs := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(*n)}), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("2001:db8::1")}
		v.Set(reflect.ValueOf(addrs[*n%len(addrs)]))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(prefix(*n)))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000, int64(*n)).UTC()))
		return
	case bgp.Reason:
		v.Set(reflect.ValueOf(bgp.Reason(1 + *n%int(bgp.Malformed))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, n)
		fill(t, value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d \"\\\x01ü", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int8:
		v.SetInt(int64(1 + *n%100))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(1 + *n%100))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.1)
	default:
		t.Fatalf("cannot fill a %v", v.Type())
	}
}

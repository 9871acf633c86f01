package bgp

import "testing"

func TestB_9384_04_B_9687_04_Words(t *testing.T) {
	t.Parallel()
	n := func(code, subcode uint8, text string, data ...byte) *notification {
		return &notification{code: code, subcode: subcode, text: text, data: data}
	}
	tests := []struct {
		e              ending
		sent, received *notification
		want           string
	}{
		{endReceived, nil, n(6, 10, ""), "the peer ended the session: Cease, BFD Down"},
		{endReceived, nil, n(6, 1, ""), "the peer ended the session: Cease, Maximum Number of Prefixes Reached"},
		{endReceived, nil, n(6, 2, "see you\x1b[31m later\n"), `the peer ended the session: Cease, Administrative Shutdown ("see you [31m later")`},
		{endHardReset, nil, n(6, 9, "", 6, 3), "the peer ended the session: Cease, Hard Reset: Cease, Peer De-configured"},
		{endHardReset, nil, n(6, 9, "", 6, 2, 3, 'b', 'y', 'e'), `the peer ended the session: Cease, Hard Reset: Cease, Administrative Shutdown ("bye")`},
		{endHardReset, nil, n(6, 9, "", 6, 9, 6, 9), "the peer ended the session: Cease, Hard Reset"},
		{endGraceful, nil, n(6, 4, ""), "the peer ended the session: Cease, Administrative Reset"},
		{endGraceful, n(4, 0, ""), nil, "the hold time passed without a word from the peer (Hold Timer Expired)"},
		{endSent, n(3, 11, ""), nil, "this side ended the session: UPDATE Message Error, Malformed AS_PATH"},
		{endGraceful, nil, nil, "the connection was lost without a word: the peer closed or reset it, or it timed out"},
		{endWriteFailed, nil, nil, "the connection was lost: nothing more could be sent to the peer (RFC 9687)"},
		{endReceived, nil, n(9, 3, ""), "the peer ended the session: code 9, subcode 3"},
		{endReceived, nil, n(8, 0, ""), "the peer ended the session: Send Hold Timer Expired"},
	}
	for _, x := range tests {
		if got := x.e.words(x.sent, x.received); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
	for e := endUnknown; e <= endReplaced; e++ {
		if e.words(nil, nil) == "" {
			t.Errorf("ending %d has no words", e)
		}
	}
}

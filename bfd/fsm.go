package bfd

import "fmt"

// event is what moves a session from state to state. The first four are what a
// received packet says of its sender, with the values of State.
type event uint8

const (
	remoteAdminDown = event(AdminDown)
	remoteDown      = event(Down)
	remoteInit      = event(Init)
	remoteUp        = event(Up)
)

const (
	// expire: a detection time has passed without a packet (section 6.8.4).
	expire event = iota + 4
	// disable and enable are the operator's (section 6.8.16).
	disable
	enable
	// forwardingReset: our forwarding state was lost (section 6.8.15).
	forwardingReset

	events // how many there are
)

// keepDiag as the diagnostic of a transition leaves it as it is.
const keepDiag Diag = 0xff

// transition is a cell of the table: the state that follows, and the diagnostic
// that goes with it.
type transition struct {
	to   State
	diag Diag
}

// transitions is the state machine of RFC 5880 sections 6.2 and 6.8.6, with the
// events of sections 6.8.4, 6.8.15 and 6.8.16. Every cell is written out. In
// AdminDown no packet has an effect.
var transitions = [...][events]transition{
	AdminDown: {
		remoteAdminDown: {AdminDown, keepDiag},
		remoteDown:      {AdminDown, keepDiag},
		remoteInit:      {AdminDown, keepDiag},
		remoteUp:        {AdminDown, keepDiag},
		expire:          {AdminDown, keepDiag},
		disable:         {AdminDown, keepDiag},
		enable:          {Down, keepDiag},
		forwardingReset: {AdminDown, keepDiag},
	},
	Down: {
		remoteAdminDown: {Down, keepDiag},
		remoteDown:      {Init, keepDiag},
		remoteInit:      {Up, keepDiag},
		remoteUp:        {Down, keepDiag},
		expire:          {Down, keepDiag},
		disable:         {AdminDown, DiagAdminDown},
		enable:          {Down, keepDiag},
		forwardingReset: {Down, DiagForwardingReset},
	},
	Init: {
		remoteAdminDown: {Down, DiagNeighborSignaledDown},
		remoteDown:      {Init, keepDiag},
		remoteInit:      {Up, keepDiag},
		remoteUp:        {Up, keepDiag},
		expire:          {Down, DiagTimeExpired},
		disable:         {AdminDown, DiagAdminDown},
		enable:          {Init, keepDiag},
		forwardingReset: {Down, DiagForwardingReset},
	},
	Up: {
		remoteAdminDown: {Down, DiagNeighborSignaledDown},
		remoteDown:      {Down, DiagNeighborSignaledDown},
		remoteInit:      {Up, keepDiag},
		remoteUp:        {Up, keepDiag},
		expire:          {Down, DiagTimeExpired},
		disable:         {AdminDown, DiagAdminDown},
		enable:          {Up, keepDiag},
		forwardingReset: {Down, DiagForwardingReset},
	},
}

// next returns the cell for s and e.
func (s State) next(e event) transition {
	if s > Up || e >= events {
		panic(fmt.Sprintf("bfd: no transition from state %d by event %d", uint8(s), uint8(e)))
	}
	return transitions[s][e]
}

package bfd

import (
	"golang.org/x/sys/unix"
)

// What can change while a session keeps its sockets, and its source port with them.

func (s *controlSocket) update(conf Config) error {
	before := s.conf.Mark
	s.conf = conf
	return setMark(s.fd, before, conf.Mark)
}

func (s *echoSocket) update(conf Config) error {
	before := s.conf.Mark
	s.conf = conf
	s.main = newFrame(conf.EchoSource, conf.Local, s.port)
	return setMark(s.fd, before, conf.Mark)
}

// setMark needs CAP_NET_ADMIN or CAP_NET_RAW, so it is called only for a change.
func setMark(fd int, before, mark uint32) error {
	if before == mark {
		return nil
	}
	return setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_MARK, int(mark), "set mark"}})
}

package bfd

import "golang.org/x/sys/unix"

// What can change while a session keeps its sockets, and its source port with them. A
// mark that is refused stays to be set by the next update.

func (s *controlSocket) update(conf Config) error {
	mark, err := setMark(s.fd, s.conf.Mark, conf.Mark)
	s.conf, s.conf.Mark = conf, mark
	return err
}

func (s *echoSocket) update(conf Config) error {
	mark, err := setMark(s.fd, s.conf.Mark, conf.Mark)
	s.conf, s.conf.Mark = conf, mark
	s.main = newFrame(conf.EchoSource, conf.Local, s.port)
	return err
}

// setMark returns the mark that the socket has then. It needs CAP_NET_ADMIN or
// CAP_NET_RAW, so it does nothing where nothing changes.
func setMark(fd int, before, mark uint32) (uint32, error) {
	if before == mark {
		return mark, nil
	}
	if err := setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_MARK, int(mark), "set mark"}}); err != nil {
		return before, err
	}
	return mark, nil
}

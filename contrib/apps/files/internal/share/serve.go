package share

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/polypeer/polypeer/contrib/apps/files/internal/store"
	"github.com/polypeer/polypeer/contrib/apps/files/internal/tree"
)

// Server answers peers.
type Server struct {
	Store  *store.Store
	places chan struct{}
}

// NewServer makes a server of what is in the store.
func NewServer(s *store.Store) *Server { return &Server{s, make(chan struct{}, maxServing)} }

// Serve accepts streams until the listener ends, and returns why it did.
func (s *Server) Serve(ln net.Listener) error {
	return serve(ln, s.places, s.handle)
}

// serve handles each stream on a goroutine of its own; those over the limit are told so.
func serve(ln net.Listener, places chan struct{}, handle func(Conn)) error {
	for {
		accepted, err := ln.Accept()
		if err != nil {
			return err
		}
		conn, ok := accepted.(Conn)
		if !ok {
			return fmt.Errorf("%T cannot be half closed", accepted)
		}
		select {
		case places <- struct{}{}:
			go func() {
				defer func() { <-places }()
				handle(conn)
			}()
		default:
			refuse(conn, errBusy)
		}
	}
}

func (s *Server) handle(conn Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(lineTime))
	var request peerRequest
	if err := readLine(bufio.NewReader(conn), maxAnswer, &request); err != nil {
		refuse(conn, err)
		return
	}
	if err := s.send(conn, request); err != nil {
		_ = conn.Reset(problemOf(err).Code)
		return
	}
	_ = conn.Close()
}

// send answers one request. An error means that the answer was begun and cannot be ended.
func (s *Server) send(conn Conn, request peerRequest) error {
	file, info, err := s.find(request)
	if err != nil {
		return writeLine(conn, problemOf(err))
	}
	if err := writeLine(conn, peerAnswer{Size: info.Size}); err != nil {
		return err
	}
	if request.List {
		list, err := file.OpenList()
		if err != nil {
			return err
		}
		_, err = io.Copy(conn, list)
		_ = list.Close()
		if err != nil {
			return err
		}
	}
	if request.Group == tree.Groups(info.Size) {
		return nil
	}
	reader, err := file.Read()
	if err != nil {
		return err
	}
	defer reader.Close()
	for number := request.Group; number < tree.Groups(info.Size); number++ {
		group, err := reader.Group(number)
		if err != nil {
			return err
		}
		_ = conn.SetWriteDeadline(time.Now().Add(stallTime))
		if _, err := conn.Write(group); err != nil {
			return err
		}
	}
	return nil
}

// find is the file a peer asks for: only those that are offered are given.
func (s *Server) find(request peerRequest) (*store.File, store.Info, error) {
	if request.Op != "get" {
		return nil, store.Info{}, fmt.Errorf("%w: unknown operation %.40q", errBadRequest, request.Op)
	}
	hash, err := tree.ParseHash(request.Hash)
	if err != nil {
		return nil, store.Info{}, errors.Join(errBadRequest, err)
	}
	file, err := s.Store.Get(hash)
	if err != nil {
		return nil, store.Info{}, err
	}
	info := file.Info()
	if !info.Offered() {
		return nil, info, store.ErrUnknown
	}
	if request.Group < 0 || request.Group > tree.Groups(info.Size) {
		return nil, info, fmt.Errorf("%w: it has no group %d", errBadRequest, request.Group)
	}
	return file, info, nil
}

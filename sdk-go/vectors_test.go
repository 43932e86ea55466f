package polypeer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// vectors reads one file of ipc-protocol/vectors, which all implementations share. Hex may hold spaces.
func vectors[T any](t *testing.T, name string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "ipc-protocol", "vectors", "v1", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.Unmarshal(text, &out); err != nil || len(out) == 0 {
		t.Fatal(len(out), err)
	}
	return out
}

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(text []byte) error {
	var s string
	err := json.Unmarshal(text, &s)
	if err == nil {
		*h, err = hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	}
	return err
}

// decodeNamed reads the body of a frame of the named type.
func decodeNamed(t *testing.T, kind string, body []byte) (msgValue, error) {
	t.Helper()
	switch kind {
	case "Opening":
		return decodeMsgOpening(body)
	case "OpeningReply":
		return decodeMsgOpeningReply(body)
	case "ClientFrame":
		return decodeMsgClientFrame(body)
	case "ServerFrame":
		return decodeMsgServerFrame(body)
	}
	t.Fatalf("a vector of unknown type %q", kind)
	return nil, nil
}

type messageVector struct {
	Name, Type, Why string
	Hex             hexBytes
	JSON            any
}

func TestVectorsOfRejectedMessagesAreRejected(t *testing.T) {
	for _, v := range vectors[messageVector](t, "messages_rejected") {
		if m, err := decodeNamed(t, v.Type, v.Hex); err == nil {
			t.Errorf("%s (%s) was read as %+v", v.Name, v.Why, m)
		}
	}
}

func TestVectorsOfMessagesReadAndWriteBack(t *testing.T) {
	for _, v := range vectors[messageVector](t, "messages") {
		m, err := decodeNamed(t, v.Type, v.Hex)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		text, _ := json.Marshal(m.json())
		var got any
		_ = json.Unmarshal(text, &got)
		if !reflect.DeepEqual(got, v.JSON) {
			t.Errorf("%s: %s", v.Name, text)
		}
		if back, err := frame(m); err != nil || !bytes.Equal(back[frameHeader:], v.Hex) {
			t.Errorf("%s: %x, %v", v.Name, back, err)
		}
	}
}

func TestVectorsOfUnknownMessagesAreSkipped(t *testing.T) {
	for _, v := range vectors[struct {
		Name, Type, Unknown string
		Hex                 hexBytes
		ID                  uint64
		Tag                 uint32
	}](t, "unknown") {
		m, err := decodeNamed(t, v.Type, v.Hex)
		var want msgValue
		switch v.Unknown {
		case "request":
			want = msgClientFrameRequest{v.ID, msgRequestUnknown{v.Tag}}
		case "response":
			want = msgServerFrameResponse{v.ID, msgResponseUnknown{v.Tag}}
		case "event":
			want = msgServerFrameEvent{msgEventUnknown{v.Tag}}
		}
		if err != nil || m != want {
			t.Errorf("%s: %+v, %v", v.Name, m, err)
		}
	}
}

func TestVectorsOfFramesAreCut(t *testing.T) {
	for _, v := range vectors[struct {
		Name, End string
		Hex       hexBytes
		Bodies    []hexBytes
	}](t, "frames") {
		in, buf, err := bytes.NewReader(v.Hex), []byte(nil), error(nil)
		var bodies []hexBytes
		for {
			if buf, err = readFrame(in, buf); err != nil {
				break
			}
			bodies = append(bodies, bytes.Clone(buf))
		}
		end := "cut"
		if err == io.EOF {
			end = "clean"
		} else if errors.Is(err, ErrMalformed) {
			end = "too large"
		}
		same := len(bodies) == len(v.Bodies)
		for i := 0; same && i < len(bodies); i++ {
			same = bytes.Equal(bodies[i], v.Bodies[i])
		}
		if !same || end != v.End {
			t.Errorf("%s: %x, %s", v.Name, bodies, end)
		}
	}
}

// TestVectorsOfDataConnectionsEndAsTheySay reads each vector through a stream. What breaks a rule after the end of
// the stream is seen by writers only.
func TestVectorsOfDataConnectionsEndAsTheySay(t *testing.T) {
	for _, v := range vectors[struct {
		Name, End string
		Hex, Data hexBytes
		Code      ErrorCode
		Stop      *ErrorCode
	}](t, "data") {
		c, far := stream(t)
		go func() {
			_, _ = far.Write(v.Hex)
			_ = far.Close()
		}()
		data, err := io.ReadAll(c)
		end := "fin"
		var reset *StreamError
		switch {
		case err == nil:
		case errors.Is(err, ErrMalformed):
			end = "malformed"
		case errors.As(err, &reset):
			end = "reset"
		case errors.Is(err, ErrConnectionLost):
			end = "lost"
		}
		_, broken := writeUntilError(c) // polls what follows the end
		var stop *StreamError
		errors.As(broken, &stop)
		if errors.Is(c.order.bad, ErrMalformed) {
			end = "malformed"
		}
		if !bytes.Equal(data, v.Data) || end != v.End || end == "reset" && reset.Code != v.Code {
			t.Errorf("%s: %d bytes, %s, %v", v.Name, len(data), end, err)
		}
		if (v.Stop != nil) != (stop != nil && stop.Stop) || v.Stop != nil && stop.Code != *v.Stop {
			t.Errorf("%s: a writer got %v", v.Name, broken)
		}
	}
}

func TestVectorsOfTextsAreReadOrRefused(t *testing.T) {
	for _, v := range vectors[struct {
		Kind, Text string
		Valid      bool
		Bytes      hexBytes
	}](t, "text") {
		valid := false
		switch v.Kind {
		case "node id":
			id, err := ParseNodeID(v.Text)
			if valid = err == nil; valid && !bytes.Equal(id[:], v.Bytes) {
				t.Errorf("%s: %x", v.Text, id)
			}
			if valid && id.String() != v.Text {
				t.Errorf("%s is written as %s", v.Text, id)
			}
		case "secret":
			t.Setenv("POLYPEER_GATEWAY", "/gateway")
			t.Setenv("POLYPEER_TOKEN", strings.ReplaceAll(v.Text, "\x00", "?"))
			g, err := gatewayFromEnvironment()
			if valid = err == nil; valid && !bytes.Equal(g.token[:], v.Bytes) {
				t.Errorf("%s: %x", v.Text, g.token)
			}
		case "ticket":
			_, err := parseTarget(v.Text)
			valid = err == nil && isTicket(v.Text)
		case "plugin id":
			valid = isPluginID(v.Text)
		case "protocol":
			valid = isProtocol(v.Text)
		case "name":
			valid = isRecordName(v.Text)
		case "hash":
			hash, err := ParseHash(v.Text)
			if valid = err == nil; valid && (!bytes.Equal(hash[:], v.Bytes) || hash.String() != v.Text) {
				t.Errorf("%s: %x", v.Text, hash)
			}
		case "pattern":
			valid = isPattern(v.Text)
		default:
			t.Fatalf("a vector of unknown kind %q", v.Kind)
		}
		if valid != v.Valid {
			t.Errorf("%s %.100q: valid is %v", v.Kind, v.Text, valid)
		}
	}
}

func TestVectorsOfRecordsAreSignedAsStated(t *testing.T) {
	for _, v := range vectors[struct {
		Name, Record                        string
		Sequence, Expires                   uint64
		Key, Seed, Value, Signed, Signature hexBytes
		Valid                               bool
	}](t, "records") {
		record := recordFrom(msgSignedRecord{
			NodeID(v.Key), v.Record, v.Sequence, v.Expires, v.Value, [64]byte(v.Signature),
		})
		if signed, err := record.SignedBytes(); err != nil || !bytes.Equal(signed, v.Signed) {
			t.Errorf("%s: %x, %v", v.Name, signed, err)
		}
		if record.Verify() != v.Valid {
			t.Errorf("%s: the signature is taken for %v", v.Name, !v.Valid)
		}
		if v.Seed != nil {
			again, err := SignRecord(ed25519.NewKeyFromSeed(v.Seed), v.Record, v.Sequence, record.Expires, v.Value)
			if err != nil || !reflect.DeepEqual(again, record) {
				t.Errorf("%s: %+v, %v", v.Name, again, err)
			}
		}
	}
}

func TestVectorsOfPatternsAllow(t *testing.T) {
	for _, v := range vectors[struct {
		Pattern, Name string
		Allows        bool
	}](t, "patterns") {
		if allows(v.Pattern, v.Name) != v.Allows {
			t.Errorf("%+v", v)
		}
	}
}

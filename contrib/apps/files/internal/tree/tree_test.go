package tree

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"lukechampine.com/blake3"
)

func content(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + i>>9)
	}
	return b
}

// list is the list of a file's values.
func list(data []byte) []byte {
	var out []byte
	for group := int64(0); group < Groups(int64(len(data))); group++ {
		value := Of(group, data[group*Group:][:Length(int64(len(data)), group)])
		out = append(out, value[:]...)
	}
	return out
}

func TestListHashesToThePlainHashOfTheFile(t *testing.T) {
	for _, size := range []int{Group + 1, 2 * Group, 2*Group + 1, 3*Group - 1, 3 * Group, 5*Group + 1023, 7 * Group, 8*Group + 1025, 13*Group + 5} {
		data := content(size)
		l := list(data)
		if int64(len(l)) != ListSize(int64(size)) {
			t.Fatal(size, len(l))
		}
		if err := CheckList(io.Discard, bytes.NewReader(l), int64(size), blake3.Sum256(data)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestSmallFilesNeedNoList(t *testing.T) {
	for _, size := range []int{0, 1, 1024, 1025, Group - 1, Group} {
		if ListSize(int64(size)) != 0 || Whole(content(size)) != Hash(blake3.Sum256(content(size))) {
			t.Error(size)
		}
	}
}

func TestChangedListOrAnotherSizeIsRefused(t *testing.T) {
	data := content(5*Group + 7)
	root, good := Hash(blake3.Sum256(data)), list(data)
	for at := 0; at < len(good); at += 31 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := CheckList(io.Discard, bytes.NewReader(bad), int64(len(data)), root); !errors.Is(err, ErrMismatch) {
			t.Fatal(at, err)
		}
	}
	for _, size := range []int64{4 * Group, 5 * Group, 3*Group + 1} {
		if err := CheckList(io.Discard, bytes.NewReader(good), size, root); !errors.Is(err, ErrMismatch) {
			t.Fatal(size, err)
		}
	}
	if err := CheckList(io.Discard, bytes.NewReader(good), 6*Group+1, root); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	// the size within the last group is bound by that group's value
	if Of(5, data[5*Group:]) == Of(5, data[5*Group:len(data)-1]) || Of(4, data[4*Group:5*Group]) == Of(3, data[4*Group:5*Group]) {
		t.Fatal("a value does not depend on length and place")
	}
}

func TestHashTextReadsBack(t *testing.T) {
	h := Whole(nil)
	if back, err := ParseHash(h.String()); err != nil || back != h {
		t.Fatal(back, err)
	}
	for _, bad := range []string{"", "zz", h.String()[:62], h.String() + "00", "../" + h.String()[3:]} {
		if _, err := ParseHash(bad); err == nil {
			t.Fatal(bad)
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	data := content(Group)
	b.SetBytes(Group)
	for i := 0; i < b.N; i++ {
		Of(int64(i), data)
	}
}

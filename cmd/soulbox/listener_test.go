package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestListeners(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:115C 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 36115 1 0000000000000000 100 0 0 10 0
   1: 00000000:115C 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 36116 1 0000000000000000 100 0 0 10 0
   2: 0100007F:115C 0100007F:8000 01 00000000:00000000 00:00000000 00000000     7        0 36117 1 0000000000000000 100 0 0 10 0
   3: 0100007F:8000 00000000:0000 0A 00000000:00000000 00:00000000 00000000     8        0 36118 1 0000000000000000 100 0 0 10 0
`
	got, err := listeners(strings.NewReader(table), 4444)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1000, 33}, got); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
}

func TestCheckListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	if err := checkListener(url, os.Getuid()); err != nil {
		t.Errorf("checkListener of an own listener: %v", err)
	}
	if err := checkListener(url, os.Getuid()+1); err == nil || !strings.Contains(err.Error(), "a process of user id") {
		t.Errorf("checkListener of another user's listener = %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkListener(url, os.Getuid()); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("checkListener of a closed listener = %v", err)
	}
	for _, bad := range []string{"http://127.0.0.1", "://", "http://127.0.0.1:99999"} {
		if err := checkListener(bad, os.Getuid()); err == nil {
			t.Errorf("checkListener(%q) = nil", bad)
		}
	}
}

package fsys

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestResolvePath(t *testing.T) {
	for _, tc := range []struct{ path, home, want string }{
		{"", "/home/user", "/home/user"},
		{"~", "/home/user", "/home/user"},
		{"~/a", "/home/user", "/home/user/a"},
		{"a/./b/../c", "/home/user", "/home/user/a/c"},
		{"../../../..", "/home/user", "/"},
		{"/a//b/", "/home/user", "/a/b"},
		{"/", "/home/user", "/"},
		{"a", "", "/a"},
		{"a", "relative", "/a"},
		{"a~", "/h", "/h/a~"},
		{"~user", "/h", ""},
		{"a\x00", "/h", ""},
		{strings.Repeat("a/", 2100), "/h", ""},
	} {
		got, err := resolvePath(tc.path, tc.home)
		if got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("resolvePath(%q, %q) = %q, %v, want %q", tc.path, tc.home, got, err, tc.want)
		}
	}
}

func FuzzResolvePath(f *testing.F) {
	f.Add("~/../x", "/home/user")
	f.Add("a\xff/..", "")
	f.Fuzz(func(t *testing.T, p, home string) {
		if strings.ContainsRune(home, 0) {
			return // parsePasswd lets none through
		}
		got, err := resolvePath(p, home)
		if err == nil && (!path.IsAbs(got) || path.Clean(got) != got || len(got) > 4095 || strings.ContainsRune(got, 0)) {
			t.Errorf("resolvePath(%q, %q) = %q", p, home, got)
		}
	})
}

func TestParsePasswd(t *testing.T) {
	const table = "root:x:0:0:root:/root:/bin/bash\n" +
		"# comment\n\n" +
		"short:x:1\n" +
		"signed:x:-1:0::/:\n" +
		"words:x:zero:0::/:\n" +
		"nobody-at-all:x:4294967295:0::/:\n" +
		"too-high:x:4294967296:0::/:\n" +
		":x:5:5::/:\n" +
		"bad\xff:x:6:6::/:\n" +
		"user:x:1000:1000::/home/user:/bin/sh\r\n" +
		"homeless:x:1001:1001::nowhere:/bin/sh\n" +
		"last:x:1002:1002::/home/last"
	want := []account{
		{"root", "/root", 0, 0}, {"user", "/home/user", 1000, 1000}, {"homeless", "/", 1001, 1001}, {"last", "/home/last", 1002, 1002},
	}
	if diff := cmp.Diff(want, parsePasswd([]byte(table)), cmp.AllowUnexported(account{})); diff != "" {
		t.Error(diff)
	}
}

func TestLookup(t *testing.T) {
	a := accounts{
		users:  parsePasswd([]byte("root:x:0:0::/root:\nuser:x:1000:1000::/home/user:\n1000:x:1500:1500::/odd:\nagain:x:1000:7::/again:\n")),
		groups: parseGroup([]byte("user:x:1000:\ndocker:x:999:other,user\nwheel:x:10:user\nshort:x\n")),
	}
	for _, tc := range []struct {
		user string
		want Identity
		ok   bool
	}{
		{"user", Identity{1000, 1000, []uint32{999, 10}, "user", "/home/user"}, true},
		{"0", Identity{0, 0, nil, "root", "/root"}, true},
		{"1000", Identity{1500, 1500, nil, "1000", "/odd"}, true}, // names come first
		{"1500", Identity{1500, 1500, nil, "1000", "/odd"}, true},
		{"ghost", Identity{}, false},
		{"", Identity{}, false},
		{"4294967295", Identity{}, false},
	} {
		got, ok := a.lookup(tc.user)
		if diff := cmp.Diff(tc.want, got); ok != tc.ok || diff != "" {
			t.Errorf("lookup(%q) = %t:\n%s", tc.user, ok, diff)
		}
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/sh\n"))
	f.Add([]byte("g:x:5:a,b,,c\n:::::\n#:x:0:0::/:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := accounts{users: parsePasswd(b), groups: parseGroup(b)}
		for _, u := range a.users {
			id, ok := a.lookup(u.name)
			if !ok || id.Name != u.name || !path.IsAbs(id.Home) || id.UID == 1<<32-1 || len(id.Groups) > maxGroups ||
				strings.ContainsRune(id.Home, 0) {
				t.Errorf("lookup(%q) = %+v, %t", u.name, id, ok)
			}
		}
		n := a.names()
		for _, g := range a.groups {
			if !utf8.ValidString(nameOf(n.groups, g.gid)) {
				t.Errorf("the name of group %d is not UTF-8", g.gid)
			}
		}
	})
}

func TestPickEncoding(t *testing.T) {
	for _, tc := range []struct {
		header string
		plain  bool
		want   string
		ok     bool
	}{
		{"", false, identity, true},
		{"gzip", false, gzipEncoding, true},
		{"gzip, deflate", false, gzipEncoding, true},
		{"GZIP;q=0.5", false, gzipEncoding, true},
		{"gzip, deflate", true, identity, true},
		{"identity, gzip", false, identity, true},
		{"identity;q=0.5, gzip", false, gzipEncoding, true},
		{"gzip;q=0.1, identity;q=0.9", false, identity, true},
		{"br", false, identity, true},
		{"br, gzip", false, gzipEncoding, true},
		{"*", false, identity, true},
		{"*, identity;q=0", false, gzipEncoding, true},
		{"*;q=0", false, identity, false},
		{"gzip;q=0, *", false, identity, true},
		{"gzip, identity;q=0", true, identity, false},
		{"identity;q=0", false, identity, false},
		{"gzip;q=0", false, identity, true},
		{"gzip;q=nonsense", false, gzipEncoding, true},
		{" , ;q=1", false, identity, true},
	} {
		got, ok := pickEncoding(tc.header, tc.plain)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("pickEncoding(%q, %t) = %q, %t, want %q, %t", tc.header, tc.plain, got, ok, tc.want, tc.ok)
		}
	}
}

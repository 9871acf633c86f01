package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Everything that is wrong is said at once, in the order of the file, at the
// right lines and with advice: the same problems in the three formats.
func TestAllProblemsAtOnce(t *testing.T) {
	files := map[string]string{
		"a.yaml": `hold:
  up: 5
  sup: 3
marks:
  base: 0x10000
on-exit: stay
uplinks:
  - name: fiber
    interface: eth1
    gateway:
      - 10.0.0.1
      - nonsense
    weight: 900
  - name: dsl
    wieght: 3
    interface: eth2
    icmp:
      quorum: 9
`,
		"a.toml": `[hold]
up = 5
sup = 3
[marks]
base = 0x10000
[[uplinks]]
name = "fiber"
interface = "eth1"
gateway = [
  "10.0.0.1",
  "nonsense",
]
weight = 900

[[uplinks]]
name = "dsl"
wieght = 3
interface = "eth2"
[uplinks.icmp]
quorum = 9
`,
		"a.json": `{"hold": {
"up": 5,
"sup": 3},
"marks": {
"base": 65536},
"uplinks": [
{"name": "fiber",
"interface": "eth1",
"gateway": [
"10.0.0.1",
"nonsense"],
"weight": 900},
{"name": "dsl",
"wieght": 3,
"interface": "eth2",
"icmp": {
"quorum": 9}}]}
`,
	}
	messages := []string{
		`hold.up: 5 has no unit; write "5s" for seconds`,
		`hold.sup: unknown key; did you mean "up"?`,
		`marks.base: 0x10000 has bits outside of the mask 0xff00; write a base within it, or a wider mask`,
		`on-exit: "stay" is not known; write keep or withdraw`,
		`uplinks[0].mark: 0x10000 has bits outside of marks.mask (0xff00); write a mark within it, or a wider mask (uplink n gets marks.base*(n+1))`,
		`uplinks[0].gateway[1]: "nonsense" is not an IP address; write one such as 192.0.2.1 or 2001:db8::1 (names are not looked up)`,
		`uplinks[0].weight: 900 is out of range; write 1 to 256`,
		`uplinks[1].mark: 0x20000 has bits outside of marks.mask (0xff00); write a mark within it, or a wider mask (uplink n gets marks.base*(n+1))`,
		`uplinks[1].wieght: unknown key; did you mean "weight"?`,
		`uplinks[1].icmp.quorum: 9 is more than the number of IPv4 targets (3), so that it could never be met; write 1 to 3, or remove it for the majority`,
	}
	lines := map[string][]int{
		"a.yaml": {2, 3, 5, 6, 8, 12, 13, 14, 15, 18},
		"a.toml": {2, 3, 5, 0, 6, 11, 13, 15, 17, 20},
		"a.json": {2, 3, 5, 0, 7, 11, 12, 13, 14, 17},
	}
	for name, text := range files {
		t.Run(name, func(t *testing.T) {
			var want []string
			for i, line := range lines[name] {
				if line > 0 { // on-exit comes before the tables in YAML only.
					want = append(want, fmt.Sprintf("%s:%d: %s", name, line, messages[i]))
				}
			}
			got := strings.Split(problemsOf(t, name, text).Error(), "\n")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Each of these is a whole file with one thing wrong.
func TestRefusedFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a.conf", "x", `a.conf: the extension ".conf" is not known; name the file .yaml, .yml, .toml or .json`},
		{"a", "x", `a: the extension "" is not known`},
		{"a.yaml", "", "a.yaml: is empty"},
		{"a.toml", " \n\t", "a.toml: is empty"},
		{"a.json", "\n", "a.json: is empty"},
		{"a.yaml", "# nothing yet\n", "a.yaml: holds no key"},
		{"a.yaml", "---\n", "a.yaml: holds no key"},
		{"a.yaml", "{}", "a.yaml: holds no key"},
		{"a.toml", "# nothing yet\n", "a.toml: holds no key"},
		{"a.json", "{}", "a.json: holds no key"},
		{"a.json", "null", "a.json: holds no key"},
		{"a.yaml", "- a\n- b\n", "a.yaml:1: does not consist of keys"},
		{"a.yaml", "hello", "a.yaml:1: does not consist of keys"},
		{"a.json", "[1]", "a.json:1: does not consist of keys"},
		{"a.yaml", "hold:\n  up: 1s\nuplinks: [\n", "a.yaml:3: is not valid YAML"},
		{"a.yaml", "hold:\n\tup: 1s\n", "a tab? YAML wants spaces"},
		{"a.yaml", "hold: &a {up: *b}\n", "a.yaml: is not valid YAML: unknown anchor 'b'"},
		{"a.yaml", two + "---\nhold: {up: 1s}\n", "a.yaml:5: a second document begins here"},
		{"a.yaml", "hold:\n  ? [a, b]\n  : 1\n", "a.yaml:2: hold.?: a key must be a word"},
		{"a.yaml", "hold:\n  up: !!float 1s\n", "a.yaml: is not valid YAML: cannot decode !!str `1s` as a !!float"},
		{"a.toml", "[hold]\nup = \n", "a.toml:2: is not valid TOML"},
		{"a.toml", "[hold]\nup = '1s'\nup = '2s'\n", "a.toml:3: is not valid TOML"},
		{"a.toml", "[hold]\nup = 1979-05-27\n[[uplinks]]\nname = 'a'\ninterface = 'b'\n", "a.toml:2: hold.up: a value of another kind (1979-05-27) is not a duration"},
		{"a.json", "{\n\"hold\": {\n\"up\" \"1s\"}}", "a.json:3: is not valid JSON"},
		{"a.json", "{\n\"hold\": {}}}", "a.json:2: is not valid JSON"},
		{"a.yaml", "hold: {up: 1s}\n# \xff\n", "a.yaml:2: is not UTF-8"},
		{"a.json", "{}\n\n\xfe", "a.json:3: is not UTF-8"},
		{"a.yaml", "hold: 3\n" + two, "a.yaml:1: hold: 3 is not a section"},
		{"a.yaml", "protocol:\n" + two, "a.yaml:1: protocol: has no value"},
		{"a.json", `{"protocol": null, "uplinks": [{"name": "a", "interface": "b"}]}`, "a.json:1: protocol: has no value"},
		{"a.yaml", "uplinks: {fiber: {interface: eth0}}\n", `a.yaml:1: uplinks: a section is not a list; write each uplink as "- name: …"`},
		{"a.yaml", "uplinks:\n", "a.yaml:1: uplinks: there is none"},
		{"a.yaml", "uplinks: []\n", "a.yaml:1: uplinks: there is none"},
		{"a.yaml", "protocol: 221\n", "a.yaml: uplinks: there is none"},
		{"a.yaml", "uplinks:\n  - fiber\n", `a.yaml:2: uplinks[0]: "fiber" is not an uplink`},
		{"a.yaml", "uplinks:\n  -\n", "a.yaml:2: uplinks[0]: nothing is not an uplink"},
		{"a.yaml", "foo: {}\n" + two, "a.yaml:1: foo: unknown key; remove it; known here: all-dead, bgp, group"},
		{"a.yaml", "foo:\n" + two, "a.yaml:1: foo: unknown key"},
		{"a.yaml", "on_exit: keep\n" + two, `on_exit: unknown key; did you mean "on-exit"?`},
		{"a.yaml", "weight: 3\n" + two, "weight: unknown key; it belongs elsewhere: uplinks[].weight"},
		{"a.yaml", "hold.up: 3s\n" + two, "hold.up: unknown key"},
		{"a.yaml", "x-common: &c {weight: 2}\n" + two, "a.yaml:1: x-common: unknown key"},
	} {
		t.Run(tt.name+"/"+tt.want, func(t *testing.T) {
			problems := problemsOf(t, tt.name, tt.text)
			if len(problems) != 1 || !strings.Contains(problems.Error(), tt.want) {
				t.Errorf("got\n%v\nwant one problem with\n%s", problems, tt.want)
			}
		})
	}
}

// Keys that mean the same are found with both lines, and the rest of the file
// is still checked.
func TestDuplicateKeys(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{
			"a.yaml", "protocol: 200\nhold:\n  up: 1s\n  up: 2s\nprotocol: 201\nweight: 2\n" + two,
			[]string{
				"a.yaml:4: hold.up: is given twice, first in line 3; keep one of them",
				"a.yaml:5: protocol: is given twice, first in line 1; keep one of them",
				"a.yaml:6: weight: unknown key; it belongs elsewhere: uplinks[].weight",
			},
		},
		{
			"a.yaml", "hold:\n  up: 1s\n  Up: 2s\n" + two,
			[]string{"a.yaml:3: hold.up: is given twice, first in line 2; keep one of them"},
		},
		{
			"a.json", "{\"protocol\": 200,\n\"protocol\": 201,\n\"hold\": {\"up\": \"1s\",\n\"UP\": \"2s\"},\n\"uplinks\": []}",
			[]string{
				"a.json:2: protocol: is given twice, first in line 1; keep one of them",
				"a.json:4: hold.up: is given twice, first in line 3; keep one of them",
				`a.json:5: uplinks: there is none; write at least one "- name: …" with its interface below "uplinks:"`,
			},
		},
		{
			"a.toml", "[hold]\nup = '1s'\nUp = '2s'\n",
			[]string{"a.toml:3: hold.up: is given twice, first in line 2; keep one of them"},
		},
		{
			"a.toml", "[hold]\nup = '1s'\n[Hold]\nreuse = 3\n",
			[]string{"a.toml:3: hold: is given twice, first in line 1; keep one of them"},
		},
	} {
		got := strings.Split(problemsOf(t, tt.name, tt.text).Error(), "\n")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.text, diff)
		}
	}
}

// Anchors, aliases and merge keys work, and a problem in what they bring is at
// the line where it is written.
func TestAnchors(t *testing.T) {
	text := `uplinks:
  - &base
    name: a
    interface: eth0
    weight: 7
    icmp: &probes
      down: 5
  - <<: *base
    name: b
    interface: eth1
    icmp: *probes
`
	c := mustParse(t, "a.yaml", text)
	if b := c.Uplinks[1]; b.Name != "b" || b.Weight != 7 || b.ICMP.Down != 5 {
		t.Errorf("the second uplink is %+v", b)
	}
	problems := problemsOf(t, "a.yaml", strings.ReplaceAll(text, "down: 5", "down: 0"))
	want := "a.yaml:7: uplinks[0].icmp.down: 0 is out of range; write 1 to 100\n" +
		"a.yaml:7: uplinks[1].icmp.down: 0 is out of range; write 1 to 100"
	if problems.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", problems, want)
	}
}

// Aliases that multiply must not fill the memory, nor aliases that contain
// themselves hang us.
func TestAliasesThatExplode(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		b.WriteString(fmt.Sprintf("a%d: &a%d [", i, i) + strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10) + "]\n")
	}
	problems := problemsOf(t, "a.yaml", b.String())
	if !strings.Contains(problems.Error(), "more than 50000 values") {
		t.Errorf("got %v", problems)
	}
	problems = problemsOf(t, "a.yaml", "hold: &h {up: *h}\n")
	if !strings.Contains(problems.Error(), "sections within sections") {
		t.Errorf("got %v", problems)
	}
	for name, text := range map[string]string{
		"a.json": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"a.toml": "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"a.yaml": strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		_ = problemsOf(t, name, text) // that there is one suffices
	}
}

func TestByteOrderMarkAndLineEndings(t *testing.T) {
	for name, text := range full {
		c := mustParse(t, name, "\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"))
		if diff := cmp.Diff(mustParse(t, name, text), c, same); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	problems := problemsOf(t, "a.json", "{\r\n\"foo\": 1,\r\n\"bar\": 2}")
	if problems[0].Line != 2 || problems[1].Line != 3 {
		t.Errorf("lines are wrong with CRLF: %v", problems)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := Load(file("good.yml", two)); err != nil {
		t.Errorf("a good file: %v", err)
	}
	t.Setenv("MULTIHOMED_UPLINKS_DSL_WEIGHT", "9")
	if c, err := Load(file("env.yaml", two)); err != nil || c.Uplinks[1].Weight != 9 {
		t.Errorf("the environment of the process did not reach the configuration: %v", err)
	}
	pipe, loop := filepath.Join(dir, "pipe.yaml"), filepath.Join(dir, "loop.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "no such file or directory; write it, or name another file",
		dir:                             "is a directory; name the file in it",
		pipe:                            "is not a regular file",
		loop:                            "too many levels of symbolic links",
		file("big.yaml", strings.Repeat("#", maxSize+1)):   "is larger than 1024 KiB",
		file("empty.yaml", ""):                             "empty.yaml: is empty",
		file("bad.yaml", "\n\nuplinks: 3\n"):               "bad.yaml:3: uplinks: 3 is not a list",
		file("good.conf", two):                             `the extension ".conf" is not known`,
		filepath.Join(file("file.yaml", two), "below.yml"): "not a directory",
	} {
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("load %s: %v; want %q", path, err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file cannot be told from others: %v", err)
	}
}

// A file that may not be read says so. Root may read everything, so the open
// error stands in for the system's.
func TestUnreadableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(two), 0); err != nil {
		t.Fatal(err)
	}
	err := explainOpen(&fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
	if !strings.Contains(err.Error(), "permission denied; run as root, or make the file readable") {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		if _, err := Load(path); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v", err)
		}
	}
}

func TestProblemPrints(t *testing.T) {
	for _, tt := range []struct {
		p    Problem
		want string
	}{
		{Problem{"f.yaml", 12, "a.b", "is wrong"}, "f.yaml:12: a.b: is wrong"},
		{Problem{"f.yaml", 0, "a.b", "is wrong"}, "f.yaml: a.b: is wrong"},
		{Problem{"f.yaml", 3, "", "is wrong"}, "f.yaml:3: is wrong"},
		{Problem{"", 0, "a.b", "is wrong"}, "a.b: is wrong"},
	} {
		if got := tt.p.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	ps := Problems{{Line: 0, Path: "z"}, {Line: 9, Path: "b"}, {Line: 2, Path: "c"}, {Line: 9, Path: "a"}}
	ps.sort()
	if got := ps[0].Path + ps[1].Path + ps[2].Path + ps[3].Path; got != "cbaz" {
		t.Errorf("sorted as %s, want cbaz", got)
	}
}

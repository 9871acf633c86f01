package page

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const text = `# Conformance

| word | meaning |
|---|---|
| JA-09 | not a row: two cells make another table |

## C.1 Gateways

| id | level | what is asked | shown by |
|---|---|---|---|
| NUD-08 | M / S | Reachable routers before suspect ones. | ` + "`TestNUD_08_16`, `bfd/interop.FuzzNUD_08`: as `TestNUD_08_16` says" + ` |
| NUD-09 | Y | All are tried. | not done: why |

### Words

| id | from | what is asked | shown by |
|---|---|---|---|
| LNX-NH-01 | routes | Static routes survive. | ` + "`TestOther`" + ` |
| B-7606-01 | M | An error withdraws. | ` + "`TestOther`" + ` |
`
	rows, faults := Read(text)
	want := []Row{
		{
			ID: "NUD-08", Section: "C.1 Gateways", Line: 11, Level: "M / S", Asks: "Reachable routers before suspect ones.",
			ShownBy: "`TestNUD_08_16`, `bfd/interop.FuzzNUD_08`: as `TestNUD_08_16` says", Tests: []Test{{Name: "TestNUD_08_16"}, {"bfd/interop", "FuzzNUD_08"}},
		},
		{ID: "NUD-09", Section: "C.1 Gateways", Line: 12, Level: "Y", Asks: "All are tried.", ShownBy: "not done: why"},
		{ID: "LNX-NH-01", Section: "Words", Line: 18, Asks: "Static routes survive.", ShownBy: "`TestOther`", Tests: []Test{{Name: "TestOther"}}},
		{ID: "B-7606-01", Section: "Words", Line: 19, Asks: "An error withdraws.", ShownBy: "`TestOther`", Tests: []Test{{Name: "TestOther"}}},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows: -want +got:\n%s", diff)
	}
	wantFaults := []Fault{{5, "JA-09 wants four cells, the last of which names tests or says why there is none"}}
	if diff := cmp.Diff(wantFaults, faults); diff != "" {
		t.Errorf("faults: -want +got:\n%s", diff)
	}
	for i, want := range map[int]string{2: "LNX-NH", 3: "B-7606"} {
		if got := rows[i].Series(); got != want {
			t.Errorf("series %q, want %q", got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	series := map[string]bool{"NUD": true, "BFD-RX": true, "BFD-TM": true, "LNX-NH": true, "B-7606": true, "B-GR": true}
	for name, want := range map[string][]string{
		"TestNUD_08_16":                  {"NUD-08", "NUD-16"},
		"TestBFD_RX_07_BFD_TM_08_Words":  {"BFD-RX-07", "BFD-TM-08"},
		"TestBFD_RX_07_Words_08":         {"BFD-RX-07"},
		"FuzzBFD_RX_07":                  {"BFD-RX-07"},
		"TestBFD_XX_07":                  nil,
		"TestBFD_RX_7":                   nil,
		"TestNUDs":                       nil,
		"TestLNX_NH_10_LNX_RT_24_Repair": {"LNX-NH-10"},
		"TestB_7606_01_B_GR_02_09_Words": {"B-7606-01", "B-GR-02", "B-GR-09"},
	} {
		if diff := cmp.Diff(want, IDs(name, series)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestTests(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"a/x_test.go":          file("package a\n\nfunc TestOne() {}\nfunc FuzzTwo() {}\nfunc TestMain() {}\nfunc helper() {}\n"),
		"b/y_test.go":          file("package b\ntype t int\nfunc (t) TestMethod() {}\nfunc TestOne() {}\n"),
		"b/y.go":               file("package b\nfunc TestNot() {}\n"),
		"z_test.go":            file("package z\nfunc TestRoot() {}\n"),
		"a/testdata/x_test.go": file("not Go"),
		".cache/x_test.go":     file("not Go"),
		"tools/go.mod":         file("module tools"),
		"tools/x_test.go":      file("package tools\nfunc TestTools() {}\n"),
	}
	got, err := Tests(tree)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]Place{
		"TestOne":  {{"a/x_test.go", 3}, {"b/y_test.go", 4}},
		"FuzzTwo":  {{"a/x_test.go", 4}},
		"TestRoot": {{"z_test.go", 2}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if dir := got["TestRoot"][0].Dir(); dir != "." {
		t.Errorf("directory of the root: %q", dir)
	}
	for named, n := range map[Test]int{{Name: "TestOne"}: 2, {"b", "TestOne"}: 1, {"c", "TestOne"}: 0, {Name: "TestTools"}: 0} {
		if places := named.In(got); len(places) != n {
			t.Errorf("%s is at %v", named, places)
		}
	}
	tree["c/x_test.go"] = file("packet c")
	if _, err := Tests(tree); err == nil {
		t.Error("a file that is not Go passes")
	}
}

package postgres

import (
	"os"
	"os/exec"
	"testing"
)

// TestJavaReadsMetadataAndRows runs the JDBC driver against the server, and
// compares what a program sees with testdata/client.golden.
func TestJavaReadsMetadataAndRows(t *testing.T) {
	r := newRig(t, nil)
	out, err := exec.CommandContext(t.Context(), needed(t, "TAILWATER_TEST_JDBC"), "testdata/Client.java", "jdbc:postgresql://"+r.addr+"/tailwater?user=ana").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const golden = "testdata/client.golden"
	if *update {
		if err := os.WriteFile(golden, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(want) {
		t.Errorf("the program printed\n%s\nwant\n%s", out, want)
	}
}

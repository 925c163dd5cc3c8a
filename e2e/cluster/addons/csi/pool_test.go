package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A record that cannot be written leaves the one that is there.
func TestAFailedWriteLosesNoRecord(t *testing.T) {
	p := &pool{root: t.TempDir()}
	if err := os.Mkdir(filepath.Join(p.root, "meta"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.put(volumes, &record{ID: "one", Bytes: 1}); err != nil {
		t.Fatal(err)
	}
	// Whoever opens it to write is told that there is no such folder, root too; to rename it is possible.
	if err := os.Symlink("nowhere/record", p.meta(volumes, "one")+".new"); err != nil {
		t.Fatal(err)
	}
	if err := p.put(volumes, &record{ID: "one", Bytes: 2}); err == nil {
		t.Fatal("a failed write is no error")
	}
	found, err := p.get(volumes, "one")
	if err != nil || found == nil || found.Bytes != 1 {
		t.Fatalf("the record is lost: %+v, %v", found, err)
	}
	// And does not stand in the way of the next one.
	if err := p.put(volumes, &record{ID: "one", Bytes: 3}); err != nil {
		t.Fatal(err)
	}
	if found, err = p.get(volumes, "one"); err != nil || found == nil || found.Bytes != 3 {
		t.Fatalf("the record is not written: %+v, %v", found, err)
	}
}

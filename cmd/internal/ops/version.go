package ops

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// What a build without the repository beside it is told by the linker:
//
//	go build -ldflags "-X github.com/fairlead-dns/fairlead/cmd/internal/ops.release=v1.2.3
//	  -X …/ops.commit=0123abc -X …/ops.date=2026-11-23T12:00:00Z"
//
// Else the build records all three by itself.
var release, commit, date string

// Build is what a program was built from.
type Build struct {
	Version  string // of the module, or devel
	Commit   string // empty: not known
	Date     string // of the commit, RFC 3339; empty: not known
	Modified bool   // there were changes that are in no commit
	Go       string // the version of Go
	Platform string // as linux/amd64
}

// ReadBuild says what this program was built from.
func ReadBuild() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version = strings.Trim(info.Main.Version, "()")
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Date = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if release != "" {
		b.Version = release
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if commit != "" {
		b.Commit, b.Modified = commit, false
	}
	if date != "" {
		b.Date = date
	}
	return b
}

// short is a commit as people quote it.
func (b Build) short() string { return b.Commit[:min(12, len(b.Commit))] }

// String is one line, as `fairlead version` prints it behind the program's name.
func (b Build) String() string {
	from := "commit unknown"
	if b.Commit != "" {
		from = "commit " + b.short()
	}
	if b.Date != "" {
		from += " of " + b.Date
	}
	if b.Modified {
		from += " with changes"
	}
	return fmt.Sprintf("%s (%s, %s, %s)", b.Version, from, b.Go, b.Platform)
}

// Version is the module's version, with the commit it was built from where
// that is not in it.
func Version() string {
	b := ReadBuild()
	if b.Commit == "" || strings.Contains(b.Version, b.short()) {
		return b.Version
	}
	return b.Version + "+" + b.short()
}

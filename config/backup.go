package config

import "github.com/pelletier/go-toml/v2/unstable"

// Backup says when a backend serves. The file says it with true, false or "full".
type Backup uint8

// The choices.
const (
	NoBackup       Backup = iota // false: always
	BackupWhenDown               // true: only while no other is usable
	BackupWhenFull               // "full": also while all others that are usable are at their limit
)

func (b Backup) String() string { return [...]string{"false", "true", `"full"`}[b] }

// toml returns what stands in the file.
func (b Backup) toml() any {
	if b == BackupWhenFull {
		return "full"
	}
	return b == BackupWhenDown
}

const backupForms = `valid are true (only while no other backend is usable), "full" (also while all others are at their limit) and false`

func (d *decoder) backup(n *node, target *Backup) {
	switch {
	case n.form == scalar && n.kind == unstable.Bool:
		*target = NoBackup
		if n.text == "true" {
			*target = BackupWhenDown
		}
	case n.form == scalar && n.kind == unstable.String && n.text == "full":
		*target = BackupWhenFull
	case n.form == scalar && n.kind == unstable.String && n.text != "true" && n.text != "false":
		hint := backupForms
		if near, ok := nearest(n.text, []string{"full"}); ok {
			hint = didYouMean(near) + " " + hint
		}
		d.spoil(n, &fault{"unknown value " + quote(n.text), hint})
	default:
		hint := backupForms
		if n.text == "true" || n.text == "false" {
			hint = "without quotes: did you mean " + n.text + "?"
		}
		d.wrongType(n, `true, false or "full"`, hint)
	}
}

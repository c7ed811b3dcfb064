package admin

// Patterns returns what the door answers to.
func (d *Door) Patterns() (list []string) {
	for _, r := range d.routes() {
		list = append(list, r.pattern)
	}
	return list
}

// Narrow is what gives a socket its mode before it has a name.
var Narrow = narrow

// Replace is how a save writes a file.
var Replace = replace

package config

import "fmt"

func (v *validator) frontendNames(frontends []Frontend) {
	first := make(map[string]*Frontend)
	for i := range frontends {
		f := &frontends[i]
		other, taken := first[f.Name]
		switch {
		case f.Name == "":
		case !taken:
			first[f.Name] = f
		case v.nodes[&f.Name] != nil:
			v.sameName(&f.Name, "frontend", f.Name, other)
		// Two that bind the same address are for bindings to report, unless the kernel picks the port.
		case v.nodes[&other.Name] != nil || f.BindOn[0].isPortZero():
			v.sameName(&f.BindOn[0].Address, "frontend", f.Name, other)
		}
	}
}

func (v *validator) backendNames(backends []Backend) {
	first := make(map[string]*Backend)
	for i := range backends {
		b := &backends[i]
		other, taken := first[b.Name]
		switch {
		case b.Name == "":
		case !taken:
			first[b.Name] = b
		case v.nodes[&b.Name] != nil:
			v.sameName(&b.Name, "backend", b.Name, other)
		default:
			v.sameName(&b.ForwardTo, "backend", b.Name, other)
		}
	}
}

// sameName reports at a name or, when that is a default, at the address it came from.
func (v *validator) sameName(field any, what, name string, first any) {
	v.wrong(field, func() *fault {
		at := v.where(v.nodes[first].offset)
		message := fmt.Sprintf("the name %s is taken by the %s at %s", quote(name), what, at)
		return &fault{message, "give each its own name"}
	})
}

package config

import (
	"bytes"
	"slices"
)

// Files returns the absolute names of the files that a text names and that weir reads with it: lists of prefixes, the
// token, certificates and keys. The text may be wrong, and the files need not be there: they are what could mend it.
// The names are relative to the directory of file, as in Parse. Sorted, each once.
func Files(file string, text []byte) []string {
	lists, secrets := files(file, text)
	return unique(append(lists, secrets...))
}

// SecretFiles returns those of [Files] of which a configuration keeps nothing: who wants to know whether they have
// changed has to look at them.
func SecretFiles(file string, text []byte) []string {
	_, secrets := files(file, text)
	return unique(secrets)
}

func files(file string, text []byte) (lists, secrets []string) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if len(text) > maxFile {
		return nil, nil
	}
	c, _, _ := parse(newReport(file, text))
	if c == nil {
		return nil, nil
	}
	for i := range c.Frontends {
		lists = append(lists, c.Frontends[i].AllowFile, c.Frontends[i].DenyFile)
	}
	a := &c.Admin
	return lists, []string{a.TokenFile, a.TLSCertificate, a.TLSKey, a.TLSClientCA}
}

func unique(names []string) []string {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
)

// readOperations makes the paths of Admin and Log absolute, and reads what the door needs, so that a check
// finds what would keep weir from starting. It keeps nothing of that: secrets are for the door alone.
func readOperations(r *report, x index, c *Config) {
	f := &fileReader{r, x}
	a := &c.Admin
	f.token(&a.TokenFile)
	f.pair(&a.TLSCertificate, &a.TLSKey)
	f.authorities(&a.TLSClientCA)
	f.absolute(&c.Log.File)
}

type fileReader struct {
	*report
	index
}

// leastToken bytes of base64 have 96 bits: nobody guesses them, however fast the door answers.
const leastToken = 16

// bearer is what RFC 6750 section 2.1 lets a token be.
var bearer = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

func (f *fileReader) token(field *string) {
	const remedy = `try "openssl rand -base64 24"`
	path, data := f.content(field)
	token := bytes.TrimSpace(data)
	switch {
	case data == nil:
	case !bearer.Match(token):
		f.reject(field, quote(path)+" holds no bearer token", "it is one line of letters, digits and -._~+/ : "+remedy)
	case len(token) < leastToken:
		f.reject(field, fmt.Sprintf("%s holds a token of %d bytes", quote(path), len(token)), fmt.Sprintf("the least is %d: %s", leastToken, remedy))
	}
}

func (f *fileReader) pair(certificate, key *string) {
	path, public := f.content(certificate)
	_, private := f.content(key)
	if public == nil || private == nil {
		return
	}
	if _, err := tls.X509KeyPair(public, private); err != nil {
		f.reject(certificate, quote(path)+" and its key cannot be used: "+clean(err.Error()), "")
	}
}

func (f *fileReader) authorities(field *string) {
	path, data := f.content(field)
	if data != nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
		f.reject(field, quote(path)+" holds no certificate in PEM", "")
	}
}

// content reads the file that a key names; nil for none. One that may not be read is set
// aside: whoever asks weir something through the door needs the paths and has no right to the key.
func (f *fileReader) content(field *string) (path string, data []byte) {
	if path = f.absolute(field); path == "" {
		return "", nil
	}
	data, err := readRegular(path)
	if errors.Is(err, fs.ErrPermission) {
		n := f.nodes[field]
		line, column := f.position(n.offset)
		f.unreadable = append(f.unreadable, Mistake{f.file, line, column, n.path(), "this user may not read " + quote(path),
			"let the user that weir runs as read it, and nobody else"})
		return path, nil
	}
	if err != nil {
		f.reject(field, "cannot read "+quote(path)+": "+clean(err.Error()), "")
		return path, nil
	}
	if len(data) == 0 {
		f.reject(field, quote(path)+" is empty", "")
		return path, nil
	}
	return path, data
}

// absolute makes the path that a key names absolute, and returns it as seen from here; "" for none.
func (f *fileReader) absolute(field *string) (path string) {
	n := f.nodes[field]
	if *field == "" || n == nil || n.spoilt || f.full() {
		return ""
	}
	if path = *field; !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.file), path)
	}
	if absolute, err := filepath.Abs(path); err == nil {
		*field = absolute
	}
	return path
}

func (f *fileReader) reject(field *string, message, hint string) {
	n := f.nodes[field]
	f.add(n.offset, n.path(), &fault{message, hint})
	n.spoilt = true
}

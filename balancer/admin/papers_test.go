package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const secret = "correct horse battery staple"

// papers are files with which doors and clients prove who they are.
type papers struct {
	dir                      string
	token, short             string
	ca, certificate, key     string // of the door
	clientCert, clientKey    string // of alice, from ca
	strangerCert, strangeKey string // of mallory, from nobody
}

func newPapers(t *testing.T) *papers {
	t.Helper()
	p := &papers{dir: t.TempDir()}
	p.token, p.short = p.write(t, "token", []byte(secret+"\n")), p.write(t, "short", []byte("abc"))
	authority := p.issue(t, "ca", "weir authority", nil)
	door := p.issue(t, "door", "weir", authority)
	alice := p.issue(t, "alice", "alice", authority)
	mallory := p.issue(t, "mallory", "mallory", nil)
	p.ca, p.certificate, p.key = authority.file, door.file, door.keyFile
	p.clientCert, p.clientKey, p.strangerCert, p.strangeKey = alice.file, alice.keyFile, mallory.file, mallory.keyFile
	return p
}

func (p *papers) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(p.dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

type paper struct {
	file, keyFile string
	certificate   *x509.Certificate
	key           *ecdsa.PrivateKey
}

// issue makes a certificate, signed by an authority or by itself.
func (p *papers) issue(t *testing.T, name, common string, by *paper) *paper {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: common}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	made := &paper{key: key}
	if by == nil {
		by = &paper{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if made.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	made.file = p.write(t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	made.keyFile = p.write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return made
}

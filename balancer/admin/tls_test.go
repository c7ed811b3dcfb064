package admin_test

import (
	"os"
	"strings"
	"testing"

	"weir/balancer/admin"
)

func TestMutualTLS(t *testing.T) {
	p := newPapers(t)
	h := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", TLSCertificate: p.certificate, TLSKey: p.key, TLSClientCA: p.ca})
	address := "https://" + h.Addr().String()
	for _, c := range []struct {
		name, want string
		o          admin.ClientOptions
	}{
		{"alice", "", admin.ClientOptions{Address: address, CA: p.ca, Certificate: p.clientCert, Key: p.clientKey}},
		{"no scheme", "", admin.ClientOptions{Address: h.Addr().String(), CA: p.ca, Certificate: p.clientCert, Key: p.clientKey}},
		{"nobody", "certificate required", admin.ClientOptions{Address: address, CA: p.ca}},
		{"a stranger", "certificate required", admin.ClientOptions{Address: address, CA: p.ca, Certificate: p.strangerCert, Key: p.strangeKey}},
		{"an authority that the client does not know", "certificate signed by unknown authority", admin.ClientOptions{Address: address, Certificate: p.clientCert, Key: p.clientKey}},
		{"no TLS", "HTTP request to an HTTPS server", admin.ClientOptions{Address: "http://" + h.Addr().String()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := admin.NewClient(c.o)
			if err != nil {
				t.Fatal(err)
			}
			before := len(h.op.Calls())
			_, err = client.Save(t.Context())
			if c.name == "no TLS" && err != nil { // net/http says it in a 400
				return
			}
			wantError(t, err, c.want)
			if done := len(h.op.Calls()) > before; done != (c.want == "") {
				t.Errorf("done: %v", done)
			}
		})
	}
	if got := h.op.LastWho(); got.Name != "alice" || !strings.HasPrefix(got.Address, "127.0.0.1:") {
		t.Errorf("got %+v, want alice", got)
	}
	if log := h.log.String(); !strings.Contains(log, `"who":"alice (127.0.0.1:`) {
		t.Errorf("the log does not say that it was alice: %s", log)
	}
}

// A certificate does not stand in for the token.
func TestTokenBesideCertificates(t *testing.T) {
	p := newPapers(t)
	h := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", TLSCertificate: p.certificate, TLSKey: p.key, TLSClientCA: p.ca, TokenFile: p.token})
	o := admin.ClientOptions{Address: h.Addr().String(), CA: p.ca, Certificate: p.clientCert, Key: p.clientKey}
	for token, want := range map[string]string{"": "wants another token", p.short: "wants another token", p.token: ""} {
		o.TokenFile = token
		client, err := admin.NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Status(t.Context())
		wantError(t, err, want)
	}
}

// A certificate that is renewed is used after a reload, by new connections.
func TestCertificatesAreReadAgain(t *testing.T) {
	p, renewed := newPapers(t), newPapers(t)
	h := open(t, admin.Options{Network: "tcp", Address: "127.0.0.1:0", TLSCertificate: p.certificate, TLSKey: p.key})
	ask := func(ca string) error {
		client, err := admin.NewClient(admin.ClientOptions{Address: h.Addr().String(), CA: ca})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Status(t.Context())
		return err
	}
	wantError(t, ask(p.ca), "")
	for from, to := range map[string]string{renewed.certificate: p.certificate, renewed.key: p.key} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(to, data, 0o600)
	}
	if err := h.Refresh(); err != nil {
		t.Fatal(err)
	}
	wantError(t, ask(renewed.ca), "")
	wantError(t, ask(p.ca), "certificate")
	os.WriteFile(p.key, nil, 0o600)
	wantError(t, h.Refresh(), "tls_certificate: ")
	wantError(t, ask(renewed.ca), "")
}

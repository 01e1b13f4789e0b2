package tlsfiles

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	maxFile         = 1 << 20 // bytes; a bundle of all the web's CAs has 220 KB
	maxCertificates = 128     // in one file
)

// ReadCertificates reads the certificates of a PEM file, at least one. What is
// cut off or damaged is refused, and so is a private key among them.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	data, _, err := readFile(path, "")
	if err != nil {
		return nil, err
	}
	return parseCertificates(path, data, false)
}

// ReadKey reads the private key of a PEM file that nobody but its owner can
// read.
func ReadKey(path string) (crypto.Signer, error) {
	data, _, err := readFile(path, aKey)
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

// aKey is what a file of a key holds, for errors.
const aKey = "a private key"

// ReadSecret reads a file that nobody but its owner can get at; holds says what
// it holds, as "a token".
func ReadSecret(path, holds string) ([]byte, os.FileInfo, error) { return readFile(path, holds) }

// readFile reads a regular file of bounded size; one that holds a secret only
// if others than its owner cannot get at it. What it returns about the file is
// true of the very file that was read.
func readFile(path, secret string) ([]byte, os.FileInfo, error) {
	// Before it is opened: opening a pipe would block.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err // it names the path
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file: want one that holds %s", path, wanted(secret))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if mode := info.Mode().Perm(); secret != "" && mode&0o077 != 0 {
		return nil, nil, fmt.Errorf("%s holds %s and has mode %04o, so that others than its owner can get at it: run chmod 600 %s", path, secret, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	case len(data) > maxFile:
		return nil, nil, fmt.Errorf("%s has more than %d bytes: want a file that holds %s", path, maxFile, wanted(secret))
	case len(data) == 0:
		return nil, nil, fmt.Errorf("%s is empty: want a file that holds %s", path, wanted(secret))
	}
	return data, info, nil
}

// wanted is what a file should hold.
func wanted(secret string) string {
	if secret == "" {
		return "certificates in PEM"
	}
	return secret
}

// blocks splits a PEM file. The library skips what it cannot read, which
// would turn a bundle half written into one of fewer CAs; here that is an
// error.
func blocks(path string, data []byte) ([]*pem.Block, error) {
	var out []*pem.Block
	want := bytes.Count(data, []byte("-----BEGIN "))
	for {
		b, rest := pem.Decode(data)
		if b == nil {
			break
		}
		out, data = append(out, b), rest
	}
	switch {
	case want == 0:
		return nil, fmt.Errorf("%s holds no PEM block: want -----BEGIN …", path)
	case len(out) != want:
		return nil, fmt.Errorf("%s is cut off or damaged: %d of its %d PEM blocks can be read", path, len(out), want)
	}
	return out, nil
}

func isKey(b *pem.Block) bool {
	switch b.Type {
	case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return true
	}
	return false
}

// parseCertificates parses every certificate. A key beside them is passed over
// where keys are allowed: certificate and key may share a file.
func parseCertificates(path string, data []byte, keys bool) ([]*x509.Certificate, error) {
	list, err := blocks(path, data)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range list {
		switch {
		case isKey(b) && keys, b.Type == "EC PARAMETERS" && keys:
			continue
		case isKey(b):
			return nil, fmt.Errorf("%s holds a private key: want certificates only", path)
		case b.Type != "CERTIFICATE":
			return nil, fmt.Errorf("%s holds a PEM block %.40q: want CERTIFICATE", path, b.Type)
		case len(certs) == maxCertificates:
			return nil, fmt.Errorf("%s holds more than %d certificates", path, maxCertificates)
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return certs, nil
}

// parseKey parses the one key of a file. No error shows any of its bytes.
func parseKey(path string, data []byte) (crypto.Signer, error) {
	list, err := blocks(path, data)
	if err != nil {
		return nil, err
	}
	var key *pem.Block
	for _, b := range list {
		switch {
		case !isKey(b):
		case key != nil:
			return nil, fmt.Errorf("%s holds more than one private key", path)
		default:
			key = b
		}
	}
	switch {
	case key == nil:
		return nil, fmt.Errorf("%s holds no private key", path)
	case key.Type == "ENCRYPTED PRIVATE KEY" || key.Headers["DEK-Info"] != "":
		return nil, fmt.Errorf("%s holds an encrypted key: want a plain one, in a file that only its owner can read", path)
	}
	var parsed any
	switch key.Type {
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(key.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(key.Bytes)
	default:
		parsed, err = x509.ParsePKCS8PrivateKey(key.Bytes)
	}
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New(path + " holds no private key that can be read: want ECDSA, Ed25519 or RSA in PEM")
	}
	return signer, nil
}

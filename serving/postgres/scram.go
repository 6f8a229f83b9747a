package postgres

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// A Verifier is what SCRAM-SHA-256 keeps of a password (RFC 5802, RFC 7677): it
// proves that a client knows the password and does not contain it.
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// mechanism is the only one: it needs no channel binding, and sends no password.
const mechanism = "SCRAM-SHA-256"

// An exchange is one SCRAM login, from the server's side.
type exchange struct {
	verifier  Verifier
	bare      string // the client's first message without its header
	header    string // GS2 header, which the last message repeats
	challenge string
	nonce     string
}

var errSCRAM = errors.New("malformed SCRAM message")

// first takes the client's first message and gives the challenge.
func (e *exchange) first(message string) (string, error) {
	// n,, or y,, or p=…,, then n=user,r=nonce. The name is the one of the start-up
	// packet, as in Postgres.
	parts := strings.SplitN(message, ",", 3)
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" {
		return "", fmt.Errorf("%w: channel binding is not offered", errSCRAM)
	}
	e.header, e.bare = parts[0]+","+parts[1]+",", parts[2]
	fields := strings.Split(e.bare, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "n=") || !strings.HasPrefix(fields[1], "r=") || len(fields[1]) < 3 {
		return "", errSCRAM
	}
	random := make([]byte, 18)
	rand.Read(random)
	e.nonce = fields[1][2:] + base64.StdEncoding.EncodeToString(random)
	e.challenge = fmt.Sprintf("r=%s,s=%s,i=%d", e.nonce, base64.StdEncoding.EncodeToString(e.verifier.Salt), e.verifier.Iterations)
	return e.challenge, nil
}

// last takes the client's proof; ok says that it holds, and then reply is the
// server's own.
func (e *exchange) last(message string) (reply string, ok bool, err error) {
	without, proof64, found := strings.Cut(message, ",p=")
	if !found {
		return "", false, errSCRAM
	}
	fields := strings.Split(without, ",")
	if len(fields) < 2 || fields[0] != "c="+base64.StdEncoding.EncodeToString([]byte(e.header)) || fields[1] != "r="+e.nonce {
		return "", false, errSCRAM
	}
	proof, err := base64.StdEncoding.DecodeString(proof64)
	if err != nil || len(proof) != sha256.Size {
		return "", false, errSCRAM
	}
	auth := e.bare + "," + e.challenge + "," + without
	signature := sign(e.verifier.StoredKey, auth)
	clientKey := make([]byte, sha256.Size)
	subtle.XORBytes(clientKey, proof, signature)
	stored := sha256.Sum256(clientKey)
	if subtle.ConstantTimeCompare(stored[:], e.verifier.StoredKey) != 1 {
		return "", false, nil
	}
	return "v=" + base64.StdEncoding.EncodeToString(sign(e.verifier.ServerKey, auth)), true, nil
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

package access

import (
	"crypto/hmac"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// SessionTime is how long a browser stays signed in: a working day. A restart of
// the server ends every session sooner.
const SessionTime = 12 * time.Hour

// Session gives a token that stands for the secret until SessionTime is over, the
// key ends, or the process does. It holds no secret, and nothing is kept of it: it
// is the key's name and an end, signed together with the key's hash, so that a new
// key of the same name does not revive it.
func (k *Keys) Session(secret string) (token string, p *Principal, err error) {
	if p, err = k.Authenticate(secret); err != nil {
		return "", nil, err
	}
	signed := p.Name + "." + strconv.FormatInt(k.now().Add(SessionTime).Unix(), 10)
	return signed + "." + k.sign(signed, k.entry(p.Name)), p, nil
}

func (k *Keys) sign(text string, e *entry) string {
	return base64.RawURLEncoding.EncodeToString(mac(k.session, text+"\x00"+string(e.Hash)))
}

// Resume gives the principal of a session's token.
func (k *Keys) Resume(token string) (*Principal, error) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 {
		return nil, ErrUnknown
	}
	name, until, ok := strings.Cut(token[:at], ".")
	e := k.entry(name)
	if !ok || e == nil || !hmac.Equal([]byte(token[at+1:]), []byte(k.sign(token[:at], e))) {
		return nil, ErrUnknown
	}
	end, err := strconv.ParseInt(until, 10, 64)
	if err != nil || k.now().Unix() >= end {
		return nil, ErrExpired
	}
	return k.living(e)
}

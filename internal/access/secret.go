package access

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"
)

// A secret is tw_NAME_BODY: the name of the key, so that a lost one can be told from
// the others, then 20 random bytes and a checksum. Scanners of source code find it
// by the pattern below, and the checksum tells a mistyped key from a wrong one, and
// a leaked key from a text that looks like one.
const (
	secretPrefix = "tw_"
	randomBytes  = 20 // 160 bits: out of reach for guessing, so that one plain hash is enough to store
	randomChars  = randomBytes * 8 / 5
	sumChars     = 7 // CRC-32 in base32
)

// SecretPattern matches the keys in any text, for scanners.
const SecretPattern = `tw_[a-z][a-z0-9-]{0,39}_[a-z2-7]{39}`

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	secretForm  = regexp.MustCompile(`^` + SecretPattern + `$`)
	encoding    = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// checkName refuses names that a key cannot have.
func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return &InvalidError{fmt.Sprintf("%q is no name for a key: 1 to 40 of a-z, 0-9 and -, a letter first", name)}
	}
	return nil
}

// NewSecret makes the secret of a key. It is not kept anywhere.
func NewSecret(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	var random [randomBytes]byte
	rand.Read(random[:]) // never fails: the runtime ends the process instead
	text := secretPrefix + name + "_" + encoding.EncodeToString(random[:])
	return text + checksum(text), nil
}

func checksum(text string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(text)))
	return encoding.EncodeToString(sum[:])
}

var errForm = errors.New("this is no whole key: keys are tw_NAME_ and 39 characters")

// nameOf gives the name in a secret, or says that it is none.
func nameOf(secret string) (string, error) {
	at := len(secret) - sumChars
	if !secretForm.MatchString(secret) || checksum(secret[:at]) != secret[at:] {
		return "", errForm
	}
	name, _, _ := strings.Cut(secret[len(secretPrefix):], "_")
	return name, nil
}

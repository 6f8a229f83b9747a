package demo

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// A payment is an event of the stream.
type payment struct {
	n        uint64
	ts       time.Time
	card     uint64
	merchant string
	country  string
	cents    int64
	declined bool
}

// payment makes payment n. The order in which random numbers are drawn is part
// of what a seed means.
func (g *Generator) payment(n uint64) payment {
	if p, ok := g.fraud(n); ok {
		return p
	}
	random := g.random(n, paymentOf)
	shop := merchants[pick(merchantShares, random.Float64())]
	card := random.Uint64N(g.cards)
	home := g.random(card, cardOf)
	p := payment{n: n, merchant: shop.name, card: home.Uint64()}
	place := home.Float64()
	if random.Float64() < roamingShare {
		place = random.Float64()
	}
	p.country = countries[pick(countryShares, place)].code
	amount := shop.typical * math.Exp(shop.spread*random.NormFloat64())
	p.cents = max(20, min(int64(amount*100), 2_500_000))
	p.declined = random.Float64() < shop.declined
	p.ts = g.At(n).Add(-delay(random))
	return p
}

// delay gives how long a payment was on its way: mostly a moment, which is enough
// to put neighbours out of order, and for some from two seconds to a quarter of
// an hour.
func delay(random *rand.Rand) time.Duration {
	if random.Float64() < lateShare {
		return time.Duration(2 * math.Pow(450, random.Float64()) * float64(time.Second))
	}
	return time.Duration(min(0.15*random.ExpFloat64(), 1.9) * float64(time.Second))
}

// fraud gives payment n if it belongs to a burst: within seconds a stolen card is
// tried with small amounts at a few merchants.
func (g *Generator) fraud(n uint64) (payment, bool) {
	random := g.random(n/g.block, burstOf)
	count := 10 + random.Uint64N(11)
	stride := max(1, uint64(g.rate*burstLasts.Seconds())/count)
	begin := random.Uint64N(g.block - count*stride)
	at := n%g.block - begin // wraps before the burst
	if n%g.block < begin || at%stride != 0 || at/stride >= count {
		return payment{}, false
	}
	p := payment{n: n, card: random.Uint64(), country: countries[pick(countryShares, random.Float64())].code}
	var shops [3]int
	for i := range shops {
		shops[i] = random.IntN(len(merchants))
	}
	own := g.random(n, paymentOf)
	p.merchant = merchants[shops[own.IntN(len(shops))]].name
	p.cents = 50 + own.Int64N(900)
	p.declined = own.Float64() < 0.5
	p.ts = g.At(n).Add(-time.Duration(own.Float64() * 0.2 * float64(time.Second)))
	return p, true
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func (p payment) append(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = p.appendID(dst)
	dst = p.appendPlace(dst)
	dst = append(dst, `","amount":`...)
	dst = p.appendAmount(dst)
	dst = append(dst, `,"status":"`...)
	if p.declined {
		return append(dst, "declined\"}\n"...)
	}
	return append(dst, "approved\"}\n"...)
}

func (p payment) appendID(dst []byte) []byte {
	dst = append(dst, 'p')
	for limit := uint64(math.Pow10(idDigits - 1)); limit > max(p.n, 1); limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, p.n, 10)
}

// appendPlace appends ts, card, merchant and country.
func (p payment) appendPlace(dst []byte) []byte {
	dst = append(dst, `","ts":"`...)
	dst = p.ts.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, `","card":"card-`...)
	const hex = "0123456789abcdef"
	for shift := 36; shift >= 0; shift -= 4 {
		dst = append(dst, hex[p.card>>shift&15])
	}
	dst = append(dst, `","merchant":"`...)
	dst = append(dst, p.merchant...)
	dst = append(dst, `","country":"`...)
	return append(dst, p.country...)
}

func (p payment) appendAmount(dst []byte) []byte {
	dst = strconv.AppendInt(dst, p.cents/100, 10)
	return append(dst, '.', byte('0'+p.cents/10%10), byte('0'+p.cents%10))
}

// malformedKinds is the number of kinds of appendMalformed.
const malformedKinds = 5

// appendMalformed appends a record that does not fit the stream. Its id is that of
// no payment, and tells such records apart.
func (p payment) appendMalformed(dst []byte, n uint64, kind int) []byte {
	dst = append(dst, `{"id":"x`...)
	dst = strconv.AppendUint(dst, n, 10)
	if kind == 0 { // NOT NULL, and no merchant
		dst = append(dst, `","ts":"`...)
		dst = p.ts.UTC().AppendFormat(dst, timeLayout)
		return append(dst, "\",\"card\":\"card-0\",\"amount\":1.00,\"status\":\"approved\"}\n"...)
	}
	if kind == 1 { // a time of another system
		return append(dst, "\",\"ts\":\"yesterday\",\"card\":\"card-0\",\"merchant\":\"Voltano\",\"amount\":1.00,\"status\":\"approved\"}\n"...)
	}
	dst = p.appendPlace(dst)
	switch kind {
	case 2: // a number as people write it
		dst = append(dst, `","amount":"`...)
		dst = strconv.AppendInt(dst, p.cents/100, 10)
		return append(dst, ",50 EUR\",\"status\":\"approved\"}\n"...)
	case 3: // a column that the stream does not have
		dst = append(dst, `","amount":`...)
		dst = p.appendAmount(dst)
		return append(dst, ",\"status\":\"approved\",\"terminal\":\"T-7\"}\n"...)
	default: // a line that broke off
		return append(dst, "\",\"amo\n"...)
	}
}

package demo

import "math"

// A category is what a kind of shop takes: amounts are log-normal around a
// typical one, and a part of the payments is declined.
type category struct {
	typical  float64 // the median amount
	spread   float64 // of the amount's logarithm
	declined float64
}

var (
	grocery     = category{24, 0.7, 0.015}
	coffee      = category{5.5, 0.35, 0.008}
	restaurant  = category{38, 0.55, 0.02}
	fuel        = category{58, 0.35, 0.03}
	transit     = category{3.2, 0.5, 0.01}
	pharmacy    = category{14, 0.6, 0.012}
	fashion     = category{62, 0.7, 0.04}
	electronics = category{140, 1.0, 0.06}
	travel      = category{260, 0.9, 0.08}
	streaming   = category{11.99, 0.15, 0.05}
)

type merchant struct {
	name string
	category
}

// merchants are made up, and stand in the order of their share of all payments.
var merchants = []merchant{
	{"Northgate Grocers", grocery}, {"Tramway City", transit}, {"Bramble Coffee", coffee}, {"Hollis Market", grocery},
	{"Kestrel Fuel", fuel}, {"Café Lindqvist", coffee}, {"Larder & Vine", grocery}, {"Quickline Metro", transit},
	{"Saffron Table", restaurant}, {"Wren Pharmacy", pharmacy}, {"Moonreel", streaming}, {"Alder Foods", grocery},
	{"Ferrywell Fuel", fuel}, {"Copper Kettle", coffee}, {"Juniper and Rye", restaurant}, {"Tidewater Threads", fashion},
	{"Voltano", electronics}, {"Greenmile Parking", transit}, {"Bodega Sol", grocery}, {"Harbour Noodles", restaurant},
	{"Meridian Air", travel}, {"Pillbox Apothecary", pharmacy}, {"Staccato Music", streaming}, {"Otter Outfitters", fashion},
	{"Roadhouse Nine", fuel}, {"Ember Grill", restaurant}, {"Plaza Mercado", grocery}, {"Circuit Barn", electronics},
	{"Lantern Hotels", travel}, {"Second Cup Society", coffee}, {"Cobblestone Shoes", fashion}, {"Riverbank Drugs", pharmacy},
	{"Pixel Orchard", electronics}, {"Skylark Rail", travel}, {"Trattoria Fenice", restaurant}, {"Longform Weekly", streaming},
	{"Marigold Home", fashion}, {"Zeppelin Tours", travel}, {"Nightowl Kiosk", grocery}, {"Kabel und Licht", electronics},
}

type country struct {
	code   string
	weight float64
}

var countries = []country{
	{"DE", 22}, {"FR", 16}, {"GB", 14}, {"ES", 11}, {"IT", 10}, {"NL", 7}, {"PL", 6}, {"SE", 4}, {"US", 4}, {"AT", 3}, {"PT", 2}, {"JP", 1},
}

// Cumulated shares, for drawing with one number from [0, 1).
var (
	merchantShares = cumulated(len(merchants), func(i int) float64 { return 1 / math.Pow(float64(i+2), 0.9) })
	countryShares  = cumulated(len(countries), func(i int) float64 { return countries[i].weight })
)

func cumulated(n int, weight func(int) float64) []float64 {
	shares, total := make([]float64, n), 0.0
	for i := range shares {
		total += weight(i)
		shares[i] = total
	}
	for i := range shares {
		shares[i] /= total
	}
	return shares
}

// pick gives the index whose share u falls into.
func pick(shares []float64, u float64) int {
	for i, s := range shares {
		if u < s {
			return i
		}
	}
	return len(shares) - 1 // rounding left the last share below 1
}

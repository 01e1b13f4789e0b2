// Package regions is Fairlead's domain: regions, services, endpoints, steering
// policies, overrides and the precedence that combines them with verdicts into
// effective state.
//
// It is pure: no network, no clock, no logging; `now` and random words are
// arguments. It imports the standard library and regions/zone only. Its data
// come from regions/config, which compiles resources into a Plan, and from
// the controllers' verdicts.
package regions

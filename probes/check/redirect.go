package check

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// redirect is a response that names where to ask instead.
type redirect struct {
	status   int
	location string
}

// asks tells whether a client makes another request (RFC 9110 section 15.4). A
// status alone, without a Location, is an answer.
func (to redirect) asks() bool {
	switch to.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return to.location != ""
	}
	return false
}

// follow makes the request that a redirect asks for. When it may not be made, ok
// is false and the outcome says why.
//
// A redirect to the host that the check names stays at the target: the check is
// about that target, not about what the name leads to today. Any other host is
// located like a target, and the guard says whether it may be reached from here.
// Where a redirect leads is the target's doing, so what is wrong with it is a
// failure of the target and no abstention.
func (c *httpCheck) follow(a *attempt, first, r *request, to redirect) (request, bool) {
	a.from = first.addr
	wrong := func(reason string) (request, bool) {
		a.end(Failed, reason)
		return request{}, false
	}
	u, err := r.url().Parse(to.location)
	if err != nil || !hostname(hostOf(u)) || !visible(u.RequestURI()) {
		return wrong("no valid URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return wrong("neither http nor https")
	}
	if r.tls != nil && u.Scheme != "https" {
		return wrong("from https to http")
	}
	next := request{addr: r.addr, port: 80, method: r.method, path: u.RequestURI(), body: r.body, foreign: true}
	if u.Scheme == "https" {
		if c.upgradeErr != nil {
			a.end(Abstained, c.upgradeErr.Error())
			return request{}, false
		}
		next.tls, next.port = c.upgrade, 443
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return wrong("no valid URL")
		}
		next.port = uint16(port)
	}
	host := hostOf(u)
	next.name, next.authority = host, authority(host, next.port, next.tls != nil)
	if strings.EqualFold(host, hostOnly(first.authority)) {
		next.addr = first.addr
		// The check's headers may hold a secret: they are for its own origin, and
		// for the same over TLS.
		upgraded := first.tls == nil && next.tls != nil
		next.foreign = next.port != first.port && !upgraded
	} else {
		if next.tls != nil {
			other := *next.tls // the stated name is for the check's own host
			other.serverName = ""
			next.tls = &other
		}
		if !strings.EqualFold(host, hostOnly(r.authority)) {
			var ok bool
			if next.addr, ok = a.locate(host); !ok {
				return request{}, false
			}
		}
	}
	// What clients do, and RFC 9110 sections 15.4.2 to 15.4.4 let them.
	keeps := to.status == http.StatusTemporaryRedirect || to.status == http.StatusPermanentRedirect
	if !keeps && next.method != http.MethodHead {
		next.method, next.body = http.MethodGet, ""
	}
	return next, true
}

// url is where a request goes.
func (r *request) url() *url.URL {
	u := &url.URL{Path: "/"}
	if parsed, err := url.ParseRequestURI(r.path); err == nil {
		u = parsed
	}
	u.Host, u.Scheme = r.authority, "http"
	if r.tls != nil {
		u.Scheme = "https"
	}
	return u
}

// hostOf is the host of a URL, without port and brackets.
func hostOf(u *url.URL) string {
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

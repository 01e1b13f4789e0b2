// Package identity says who a certificate is: the role, and how far it
// reaches, from the certificate's URI SAN in SPIFFE form; and what the token of
// a person looks like, who may have one instead. It may import
// crypto/x509 and nothing that reads files, clocks or the network; the
// certificates come from callers, which have verified their chain before, and
// so does the time.
//
// The forms, and what each may hold besides its name:
//
//	spiffe://TRUST-DOMAIN/agent/REGION/NAME
//	spiffe://TRUST-DOMAIN/nameserver/REGION/NAME
//	spiffe://TRUST-DOMAIN/controller/NAME
//	spiffe://TRUST-DOMAIN/etcd/NAME
//	spiffe://TRUST-DOMAIN/viewer/NAME    and these three with a scope behind:
//	spiffe://TRUST-DOMAIN/operator/NAME  /zone/Z… /service/S… /region/R…
//	spiffe://TRUST-DOMAIN/admin/NAME     in this order, each sorted; none: all
//
// Every identity has one URI and every URI that parses is the one of its
// identity. SPIFFE admits only [A-Za-z0-9._-] in a path segment, no asterisk,
// so the service *.example.test is written WILDCARD.example.test; names are
// lower case, so nothing else can be meant.
package identity

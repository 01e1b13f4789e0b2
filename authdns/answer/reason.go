package answer

import "github.com/miekg/dns"

// Reason says why a query got the response that it got.
type Reason uint8

// The reasons: what became of a good query, then the gates in the order in
// which a query passes them.
const (
	// Answered: there is an answer.
	Answered Reason = iota
	// NoData: the name exists, the type does not.
	NoData
	// NXDomain: the name does not exist.
	NXDomain
	// Referral: the name lies below a zone cut.
	Referral
	// NameTooLong: a DNAME leads to a name that is too long.
	NameTooLong
	// Identity: a CH query for the server's identity.
	Identity
	// Explained: a CH query for why an answer is as it is.
	Explained

	// Short: less than a header. Dropped: there may be no id to answer with.
	Short
	// IsResponse: QR is set. Dropped: answering could start a loop.
	IsResponse
	// BadOpcode: not QUERY. What follows the header may have another form, so
	// the response is a header.
	BadOpcode
	// BadCounts: other than one question, or records that a query has not.
	BadCounts
	// BadFormat: cannot be parsed, or something follows the message.
	BadFormat
	// BadOPT: several OPT records, or one that is not at the root.
	BadOPT
	// BadVersion: an EDNS version other than 0.
	BadVersion
	// BadOptions: the options of the OPT record are cut short.
	BadOptions
	// BadSubnet: a malformed client subnet option.
	BadSubnet
	// UnknownKey: signed with a TSIG key that is not known here.
	UnknownKey
	// BadClass: a class other than IN.
	BadClass
	// BadType: a type that cannot be asked for.
	BadType
	// Mailbox: MAILA or MAILB.
	Mailbox
	// Transfer: AXFR or IXFR.
	Transfer
	// NotDebugged: a CH query for an explanation, from whom it is not given.
	NotDebugged
	// NotReady: no snapshot has been loaded yet.
	NotReady
	// NotAuthoritative: not in our zones.
	NotAuthoritative
	// Failed: the response cannot be written: a bug.
	Failed

	// Reasons is how many there are.
	Reasons = iota
)

// noEDE marks the reasons that have no extended error.
const noEDE = 0xffff

// extInvalidQueryType is EDE 30, Invalid Query Type (RFC 9824 section 3.5).
const extInvalidQueryType = 30

// outcomes holds what each reason means on the wire.
var outcomes = [Reasons]struct {
	name  string
	rcode int
	ede   uint16 // RFC 8914
}{
	Answered:         {"answer", dns.RcodeSuccess, noEDE},
	NoData:           {"nodata", dns.RcodeSuccess, noEDE},
	NXDomain:         {"nxdomain", dns.RcodeNameError, noEDE},
	Referral:         {"referral", dns.RcodeSuccess, noEDE},
	NameTooLong:      {"name-too-long", dns.RcodeYXDomain, noEDE},
	Identity:         {"identity", dns.RcodeSuccess, noEDE},
	Explained:        {"explained", dns.RcodeSuccess, noEDE},
	Short:            {"short", dns.RcodeFormatError, noEDE},
	IsResponse:       {"is-response", dns.RcodeFormatError, noEDE},
	BadOpcode:        {"bad-opcode", dns.RcodeNotImplemented, noEDE},
	BadCounts:        {"bad-counts", dns.RcodeFormatError, noEDE},
	BadFormat:        {"bad-format", dns.RcodeFormatError, noEDE},
	BadOPT:           {"bad-opt", dns.RcodeFormatError, noEDE},
	BadVersion:       {"bad-version", dns.RcodeBadVers, noEDE},
	BadOptions:       {"bad-options", dns.RcodeFormatError, noEDE},
	BadSubnet:        {"bad-subnet", dns.RcodeFormatError, noEDE},
	UnknownKey:       {"unknown-key", dns.RcodeNotAuth, noEDE},
	BadClass:         {"bad-class", dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported},
	BadType:          {"bad-type", dns.RcodeFormatError, extInvalidQueryType},
	Mailbox:          {"mailbox", dns.RcodeNotImplemented, dns.ExtendedErrorCodeNotSupported},
	Transfer:         {"transfer", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
	NotDebugged:      {"not-debugged", dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
	NotReady:         {"not-ready", dns.RcodeServerFailure, dns.ExtendedErrorCodeNotReady},
	NotAuthoritative: {"not-authoritative", dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative},
	Failed:           {"failed", dns.RcodeServerFailure, dns.ExtendedErrorCodeOther},
}

func (r Reason) String() string { return outcomes[r].name }

// dropped tells whether the query gets no response at all.
func (r Reason) dropped() bool { return r == Short || r == IsResponse }

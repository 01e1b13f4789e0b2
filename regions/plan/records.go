package plan

import (
	"errors"
	"fmt"

	pb "github.com/fairlead-dns/fairlead/proto/fairlead/v1"
	"github.com/fairlead-dns/fairlead/regions/config"
	"github.com/fairlead-dns/fairlead/regions/zone"
)

// CheckRecords builds a zone with the services in it and reports what is
// wrong, line by line. It is the Records hook of config.Validate.
func CheckRecords(z *pb.Zone, services []*pb.Service) []config.FieldError {
	var owners []zone.ServiceOwner
	for i, s := range services {
		names := len(s.GetSpec().GetEndpoints()) > 0 && s.GetSpec().GetEndpoints()[0].GetCname() != ""
		owners = append(owners, zone.ServiceOwner{Owner: fqdn(s.GetMetadata().GetName()), Index: int32(i), Name: names})
	}
	_, err := BuildZone(z, owners)
	if err == nil {
		return nil
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var out []config.FieldError
	for _, err := range all {
		e := config.FieldError{Path: "spec", Message: err.Error()}
		var at *zone.Error
		if errors.As(err, &at) && at.Line > 0 {
			e.Path, e.Message = fmt.Sprintf("spec.records:%d", at.Line), at.Err.Error()
		}
		out = append(out, e)
	}
	return out
}

package rest

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the OpenAPI document
	"fmt"
	"net/http"
	"time"
)

// openAPIPath is where the OpenAPI document is served.
const openAPIPath = "/v1/openapi.json"

//go:embed openapi.swagger.json
var openAPI []byte

var openAPITag = fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(openAPI))[:16])

// serveOpenAPI serves the document to anybody: it says nothing of an
// installation.
func serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, r.Method, []string{http.MethodGet, http.MethodHead})
		return
	}
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", openAPITag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(openAPI))
}

package store

// ServiceConfig is for clients of tests that listen in on requests and route
// them as those from Dial do.
const ServiceConfig = serviceConfig

module github.com/polypeer/polypeer/sdk-go/internal/conformance

go 1.22

require (
	github.com/polypeer/polypeer/sdk-go v0.0.0
	golang.org/x/net v0.35.0
)

replace github.com/polypeer/polypeer/sdk-go => ../..

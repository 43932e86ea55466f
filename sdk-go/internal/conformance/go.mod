module polypeer/internal/conformance

go 1.22

require (
	polypeer v0.0.0
	golang.org/x/net v0.35.0
)

replace polypeer => ../..

module github.com/polypeer/polypeer/contrib/examples/go-http

go 1.22

require github.com/polypeer/polypeer/sdk-go v0.0.0

replace github.com/polypeer/polypeer/sdk-go => ../../../sdk-go

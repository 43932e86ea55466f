module github.com/polypeer/polypeer/contrib/examples/go-noticeboard

go 1.22

require polypeer v0.0.0

replace polypeer => ../../../sdk-go

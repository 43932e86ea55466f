module github.com/polypeer/polypeer/sdk-go

go 1.22

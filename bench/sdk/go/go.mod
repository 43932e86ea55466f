module polypeer-bench-sdk

go 1.22

require polypeer v0.0.0

replace polypeer => ../../../sdk-go

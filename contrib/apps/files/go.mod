module github.com/polypeer/polypeer/contrib/apps/files

go 1.22

require (
	polypeer v0.0.0-00010101000000-000000000000
	lukechampine.com/blake3 v1.4.1
)

require github.com/klauspost/cpuid/v2 v2.0.9 // indirect

replace polypeer => ../../../sdk-go

module polypeer

go 1.22

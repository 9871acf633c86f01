module github.com/multihomed/multihomed

go 1.25.0

module github.com/onnxprune/onnxprune

go 1.26

require (
	github.com/alecthomas/kong v1.17.0
	github.com/gogo/protobuf v1.3.2
	github.com/rogpeppe/go-internal v1.14.1
	github.com/sbinet/npyio v0.9.0
	github.com/yalue/onnxruntime_go v1.27.0
	golang.org/x/sys v0.38.0
	golang.org/x/term v0.37.0
	pgregory.net/rapid v1.2.0
)

require (
	github.com/nlpodyssey/gopickle v0.3.0 // indirect
	golang.org/x/text v0.14.0 // indirect
	golang.org/x/tools v0.26.0 // indirect
	gonum.org/v1/gonum v0.14.0 // indirect
)

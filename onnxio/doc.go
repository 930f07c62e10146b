// Package onnxio reads and writes ONNX files without losing anything.
//
// A Model keeps the bytes it was read from beside the parsed messages. Saving an unchanged model writes those bytes
// again. An edit replaces the bytes of the one entry it touches (an initializer, a node) and the lengths around it;
// every other byte stays as the producer wrote it.
package onnxio

//go:generate sh generate.sh

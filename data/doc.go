// Package data reads datasets of NPY shards and delivers them as batches.
//
// A dataset is a directory:
//
//	input-00000.npy   rows of the model's only input, [N, shape…]
//	label-00000.npy   class numbers, int64 or int32 [N], or float32 targets [N, …]
//	input-00001.npy   the next shard, and so on
//	dataset.json      optional: classes, scale, mean, std
//
// A model with several inputs has <input name>-00000.npy for each of them. Values
// are delivered as float32, (x·scale − mean)/std per channel. Shards are
// memory-mapped where the platform can, so that their sum may exceed the memory.
//
// What a batch holds depends only on the files, the seed, the epoch and the batch
// size: never on the number of workers or on how far they run ahead.
package data

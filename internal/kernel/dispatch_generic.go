//go:build !amd64 || purego

package kernel

func supported(v variant) bool { return v == variantGo }

func tile(a *tileArgs)           { tileGo(a) }
func depthTile(a *tileArgs)      { depthTileGo(a) }
func grad(a *gradArgs)           { gradGo(a) }
func depthGrad(a *depthGradArgs) { depthGradGo(a) }

func depthRows(a *depthRowsArgs) { depthRowsGo(a) }

func depthRowsGrad(a *depthRowsGradArgs) { depthRowsGradGo(a) }

func denseRows(a *denseRowsArgs) { denseRowsGo(a) }

func denseGrad(a *denseGradArgs) { denseGradGo(a) }

func prefetch([]float32) {}

// Only pins the module whose CRD files the tests install; nothing of it is built.
module evenkeel.dev/e2e/cilium

go 1.26.0

require github.com/cilium/cilium v1.20.2

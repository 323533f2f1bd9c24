// Vectorised selections of other libraries. native.py compiles this file once for each library and instruction set,
// into separate shared objects, because the same names stand for different code.
#include <cstddef>

#if defined(X86_SIMD_SORT)
#include "npysort/x86-simd-sort/src/x86simdsort-static-incl.h"
#else
#define VQSORT_ONLY_STATIC 1
#include "highway/hwy/contrib/sort/vqsort-inl.h"
#if !VQSORT_ENABLED
#error "Highway doesn't vectorise its selection with this compiler"
#endif
#endif

extern "C" __attribute__((visibility("default"))) void bench_select(float *values, std::ptrdiff_t n, std::ptrdiff_t k) {
    const auto size = static_cast<std::size_t>(n), at = static_cast<std::size_t>(k);
#if defined(X86_SIMD_SORT)
    x86simdsortStatic::qselect(values, at, size, false);
#else
    hwy::HWY_NAMESPACE::VQSelectStatic(values, size, at, hwy::SortAscending());
#endif
}

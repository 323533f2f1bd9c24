// Macros to compile a source file for an instruction set beyond the baseline, and to define its kernels.
#pragma once

#if (defined(__x86_64__) || defined(__amd64__)) && defined(__GNUC__)
#define RRM_X86 1
#endif

#define RRM_INLINE inline __attribute__((always_inline))

// Code between the two is compiled for these features. It must be reachable only after the processor's features have
// been checked, and must not contain anything that the linker could merge with the copy of another file. (Compiler
// options for the file would also apply to the inline functions of the headers it includes.)
#define RRM_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define RRM_TARGET_PUSH(features)                                                                                      \
    RRM_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define RRM_TARGET_POP RRM_PRAGMA(clang attribute pop)
#else
#define RRM_TARGET_PUSH(features) RRM_PRAGMA(GCC push_options) RRM_PRAGMA(GCC target(features))
#define RRM_TARGET_POP RRM_PRAGMA(GCC pop_options)
#endif

#define RRM_DEFINE_KERNELS                                                                                             \
    extern const AllKernels all_kernels;                                                                               \
    constinit const AllKernels all_kernels{make_kernels<Float16>(), make_kernels<BFloat16>(), make_kernels<Float32>(), \
                                           make_kernels<Float64>()};

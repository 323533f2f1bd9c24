// How a source file is compiled for an instruction set beyond the baseline, and how its loops are made known.
#pragma once

#if (defined(__x86_64__) || defined(__amd64__)) && defined(__GNUC__)
#define RRM_X86 1
#endif

#define RRM_INLINE inline __attribute__((always_inline))

// Everything between the two is compiled for these features. Only code that is reached after asking the processor may
// stand there, and nothing that the linker could merge with another file's copy. (Per-file compiler options would
// compile the inline functions of headers for them too.)
#define RRM_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define RRM_TARGET_PUSH(features)                                                                                      \
    RRM_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define RRM_TARGET_POP RRM_PRAGMA(clang attribute pop)
#else
#define RRM_TARGET_PUSH(features) RRM_PRAGMA(GCC push_options) RRM_PRAGMA(GCC target(features))
#define RRM_TARGET_POP RRM_PRAGMA(GCC pop_options)
#endif

#define RRM_LOOPS                                                                                                      \
    extern const AllLoops all_loops;                                                                                   \
    constinit const AllLoops all_loops{make_loops<Float16>(), make_loops<BFloat16>(), make_loops<Float32>(),           \
                                       make_loops<Float64>()};

// A model of CUDA's execution on one CPU thread. Each CUDA thread is a fiber, and a seeded scheduler switches between
// fibers at barriers, warp operations, atomics and fences. It starves warps and starts blocks in any order on purpose.
//
// Undefined behaviour ends the program with a message and exit code 86 (see fail): lanes with different masks or
// operations, a mask that names an exited lane, divergent barriers, deadlock, shared memory out of bounds or
// uninitialised, global memory outside the registered ranges.
//
// Users: gpu_model.h (CUDA's spelling for g++), the C++ that ptx/translator.py writes, cudart/stand_in_cudart.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace model {

struct Index {
    unsigned x, y, z;
};

struct Schedule {
    std::uint64_t seed = 1;
    unsigned resident = 4; // blocks that are resident at a time
    unsigned preempt = 8;  // one in `preempt` atomics and fences yields to another thread; 0: none does
};

void configure(const Schedule &schedule);

// Runs `kernel` in every thread of the grid and returns when all have exited. `name` labels messages and counts.
void run(const char *name, Index grid, Index block, std::size_t dynamic_shared, const std::function<void()> &kernel);

// ---- Called by the running thread.
Index thread_index();
Index block_index();
Index block_size();
Index grid_size();
unsigned lane();

// Warp operations: each waits for the other lanes of the mask. `lane` of shuffle is the absolute source lane.
unsigned ballot(unsigned mask, bool vote);
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned lane);
void sync_warp(unsigned mask);

void sync_block(const void *site); // __syncthreads; `site` identifies the barrier in the source
void fence();                      // __threadfence
void maybe_yield();                // possibly switches to another thread; called around atomic operations

// The block's shared variable that is identified by `key`, and its shadow: a byte for each byte of the variable, 0
// while that is uninitialised. Each block has its own.
struct Shared {
    unsigned char *bytes, *written;
};
Shared shared(const void *key, std::size_t size);

[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- Global memory: only registered ranges may be accessed; without registered ranges nothing is checked.
void register_memory(const void *begin, std::size_t size, bool writable);
void unregister_memory();
void check_memory(const void *address, std::size_t size, bool write); // including alignment to `size`

// ---- Traffic by kernel, accumulated over launches until reset_costs.
void count_read(std::size_t bytes);
void count_written(std::size_t bytes);

struct Cost {
    const char *kernel; // mangled name
    std::uint64_t launches, bytes_read, bytes_written;
};
std::size_t costs(Cost *out, std::size_t capacity); // returns the number of kernels
void reset_costs();

// ---- For gpu_model.h.
struct Place {
    Index thread, block, block_size, grid_size;
};
extern Place here; // of the running thread: the values of thread_index() etc. without a call

struct Traffic {
    std::uint64_t read, written;
};
extern Traffic traffic;        // of the running kernel; instrumented code uses count_read and count_written instead
extern bool memory_registered; // false: check_memory checks nothing

void check_range(const void *begin, std::size_t size, bool write); // like check_memory, at any alignment

// Announce an atomic operation to the race detector: with fences on both sides it synchronises threads. To be called
// right after the operation, before another thread can run.
void atomic_read(const void *address);
void atomic_written(const void *address);

// Yields like fence(), but is no synchronisation for the race detector: stricter than __threadfence_block.
inline void fence_block() {
    maybe_yield();
}

bool is_valid_launch(Index grid, Index block); // true if CUDA accepts the sizes
const char *kernel_name(const void *kernel);   // mangled; needs -rdynamic in a program
using Translated = void(void **parameters);    // a kernel written by ptx/translator.py
void use_ptx(bool enabled);                    // for later launches; fails for a kernel without a translation
Translated *translated(const void *kernel);    // the symbol ptx_<mangled name>; null if not enabled

} // namespace model

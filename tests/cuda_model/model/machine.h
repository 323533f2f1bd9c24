// A model of CUDA's execution on one thread of a CPU: every CUDA thread is a fiber, and a seeded scheduler switches
// between them wherever CUDA allows another order: at barriers, at warp operations, around atomics and fences. It
// starves warps and starts blocks in any order on purpose.
//
// Whatever CUDA calls undefined ends the program with a message and exit code 86 (see fail): lanes that disagree on a
// mask or an operation, a mask that names an exited lane, threads at different barriers, a deadlock, shared memory out
// of bounds or read before it was written, global memory outside what was registered.
//
// gpu_model.h spells CUDA for g++ on top of this; ptx_to_cpp.py writes C++ that calls it; stand_in_cudart.cpp serves
// the module that nvcc built with it.
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
    unsigned resident = 4; // blocks that run at a time
    unsigned preempt = 8;  // one in so many atomics and fences gives way to another thread; 0: none
};

void configure(const Schedule &schedule);

// Runs `kernel` once in every thread of the grid and returns when all are done. `name` is for messages and counts.
void run(const char *name, Index grid, Index block, std::size_t dynamic_shared, const std::function<void()> &kernel);

// ---- For the thread that runs.
Index thread_index();
Index block_index();
Index block_size();
Index grid_size();
unsigned lane();

// Each of these waits for the other lanes of the mask. `lane` of shuffle is the absolute lane to read from.
unsigned ballot(unsigned mask, bool vote);
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned lane);
void sync_warp(unsigned mask);

void sync_block(const void *site); // __syncthreads; `site` tells one barrier in the source from another
void fence();                      // __threadfence
void give_way();                   // another thread may run now; around every atomic operation

// The block's shared memory that belongs to `key`, the same for all its threads; not written at first.
// Memory and its shadow of as many bytes (0: not written) are filled anew for each block.
struct Shared {
    unsigned char *bytes, *written;
};
Shared shared(const void *key, std::size_t size);

[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- Global memory: what is registered may be touched; if nothing is, nothing is checked.
void register_memory(const void *begin, std::size_t size, bool writable);
void forget_memory();
void check_memory(const void *address, std::size_t size, bool write); // also its alignment to `size`

// ---- Counts, by the kernel that runs now. Added up until taken.
void count_read(std::size_t bytes);
void count_written(std::size_t bytes);

struct Cost {
    const char *kernel; // mangled name
    std::uint64_t launches, bytes_read, bytes_written;
};
std::size_t costs(Cost *into, std::size_t room); // returns how many kernels there are
void forget_costs();

// ---- What gpu_model.h needs beyond that.
struct Place {
    Index thread, block, block_size, grid_size;
};
extern Place here; // of the thread that runs: what thread_index() and its like return, without a call

struct Counts {
    std::uint64_t read, written;
};
extern Counts counted;         // bytes, by the kernel that runs now; race checkers see only count_read, count_written
extern bool memory_registered; // whether check_memory has anything to check

void check_range(const void *begin, std::size_t size, bool write); // as check_memory, at any alignment

// What an atomic operation passes on between threads that fence, for the race checker. To call right after the
// operation, before another thread may run.
void atomic_read(const void *address);
void atomic_written(const void *address);

// Like fence(), it may give way, but it orders nothing for the race checker: stricter than __threadfence_block.
inline void fence_block() {
    give_way();
}

bool launchable(Index grid, Index block);    // whether CUDA accepts the sizes
const char *kernel_name(const void *kernel); // mangled; needs -rdynamic in a program
using Translated = void(void **parameters);  // a kernel as ptx_to_cpp.py writes it
void use_ptx(bool wanted);                   // from now on; a kernel without a translation fails
Translated *translated(const void *kernel);  // the symbol ptx_<mangled name>, if wanted

} // namespace model

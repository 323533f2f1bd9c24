// Checks of the execution model: correct kernels pass, each error is detected.
//
//     model_checks list     the checks with their expected outcomes
//     model_checks NAME     runs one of them
//     model_checks speed    measures the cost of a switch and of a load
//
// Outcomes: "exit 0"; "exit 86: " and a part of the message; "race", reported by ThreadSanitizer builds only;
// "overflow", reported by AddressSanitizer builds only.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "../../../csrc/cuda/compat.h"

#ifdef __SANITIZE_THREAD__
constexpr unsigned n_seeds = 2; // with ThreadSanitizer a CUDA thread takes a third of a millisecond to start
#else
constexpr unsigned n_seeds = 50;
#endif

constexpr unsigned full = 0xffffffff;

static void require(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "failed: %s\n", what);
        std::exit(1);
    }
}

template <class Work> static void for_each_seed(Work work) {
    for (unsigned seed = 1; seed <= n_seeds; ++seed) {
        model::configure({seed, 1 + seed % 5, seed % 3 * 4});
        work();
    }
}

template <class... Parameters, class... Arguments>
static void launch(void (*kernel)(Parameters...), unsigned grid, unsigned block, Arguments... arguments) {
    const cudaError_t error = gpu::launch(kernel, grid, block, nullptr, arguments...);
    require(error == cudaSuccess, cudaGetErrorString(error));
}

static std::vector<unsigned> numbers(unsigned n) {
    std::vector<unsigned> made(n);
    for (unsigned i = 0; i < n; ++i) {
        made[i] = i * 2654435761U >> 16;
    }
    return made;
}

// ---- Correct kernels.

static __device__ unsigned sum_of_mine(const unsigned *from, unsigned n) {
    unsigned sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        sum += gpu::load(from + i);
    }
    return sum;
}

// The sum over the block, for thread 0.
static __device__ unsigned sum_of_block(unsigned sum) {
    GPU_SHARED(unsigned[32], of_warp);
    for (unsigned distance = 16; distance != 0; distance /= 2) {
        sum += __shfl_down_sync(full, sum, distance);
    }
    if (threadIdx.x % 32 == 0) {
        of_warp[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    sum = 0;
    if (threadIdx.x == 0) {
        for (unsigned i = 0; i < blockDim.x / 32; ++i) {
            sum += of_warp[i];
        }
    }
    return sum;
}

__global__ void add_up(const unsigned *from, unsigned n, unsigned *total) {
    const unsigned sum = sum_of_block(sum_of_mine(from, n));
    if (threadIdx.x == 0) {
        atomicAdd(total, sum);
    }
}

static void check_reduction() {
    const std::vector<unsigned> from = numbers(5000);
    for_each_seed([&] {
        unsigned total = 0;
        launch(add_up, 5, 128, from.data(), 5000U, &total);
        require(total == std::accumulate(from.begin(), from.end(), 0U), "the sum is exact");
    });
}

// The last block to finish adds the results of all blocks.
template <bool first_fence, bool second_fence>
__global__ void last_block_done(const unsigned *from, unsigned n, unsigned *partial, unsigned *tickets,
                                unsigned *total) {
    const unsigned sum = sum_of_block(sum_of_mine(from, n));
    if (threadIdx.x != 0) {
        return;
    }
    gpu::store(partial + blockIdx.x, sum);
    if (first_fence) {
        __threadfence();
    }
    if (atomicAdd(tickets, 1) + 1 != gridDim.x) {
        return;
    }
    if (second_fence) {
        __threadfence();
    }
    unsigned all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) {
        all += gpu::load_fresh(partial + i);
    }
    gpu::store(total, all);
}

template <bool first_fence, bool second_fence> static void check_last_block_done() {
    const std::vector<unsigned> from = numbers(1000);
    for_each_seed([&] {
        unsigned partial[6], tickets = 0, total = 0;
        launch(last_block_done<first_fence, second_fence>, 6, 64, from.data(), 1000U, partial, &tickets, &total);
        require(total == std::accumulate(from.begin(), from.end(), 0U), "the sum is exact");
    });
}

// One block passes a number to another while both run.
template <bool first_fence, bool second_fence> __global__ void hand_over(unsigned *flag, unsigned *data) {
    if (blockIdx.x == 0) {
        gpu::store(data, 42);
        if (first_fence) {
            __threadfence();
        }
        atomicExch(flag, 1);
    } else {
        while (gpu::load_fresh(flag) == 0) {
        }
        if (second_fence) {
            __threadfence();
        }
        gpu::store(data + 1, gpu::load(data));
    }
}

template <bool first_fence, bool second_fence> static void check_hand_over() {
    for (unsigned seed = 1; seed <= n_seeds; ++seed) {
        model::configure({seed, 2, 4});
        unsigned flag = 0, data[2] = {0, 0};
        launch(hand_over<first_fence, second_fence>, 2, 1, &flag, data);
        require(data[1] == 42, "the number has arrived");
    }
}

__global__ void count_values(const unsigned *from, unsigned n, unsigned *counts) {
    GPU_SHARED(unsigned[64], bins);
    for (unsigned i = threadIdx.x; i < 64; i += blockDim.x) {
        bins[i] = 0;
    }
    __syncthreads();
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
        atomicAdd(&bins[gpu::load(from + i) % 64], 1);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 64; i += blockDim.x) {
        atomicAdd(counts + i, bins[i]);
    }
}

static void check_histogram() {
    const std::vector<unsigned> from = numbers(3000);
    for_each_seed([&] {
        std::vector<unsigned> counts(64);
        launch(count_values, 4, 96, from.data(), 3000U, counts.data());
        for (unsigned x = 0; x < 64; ++x) {
            const auto same = std::count_if(from.begin(), from.end(), [x](unsigned y) { return y % 64 == x; });
            require(counts[x] == same, "each value is counted");
        }
    });
}

template <class T> struct Results {
    T sum, least, greatest, bits, all_bits, exchanged, swapped;
};

// By all threads, once each, in place of what begins as zero (least and all_bits: as all ones; sum counts up).
template <class Pointer, class T> static __device__ void use_each_atomic(T mine, Pointer *on, T *taken) {
    atomicAdd(on[0], mine);
    atomicMin(on[1], mine);
    atomicMax(on[2], mine);
    atomicOr(on[3], T(T{1} << (mine % 31)));
    atomicAnd(on[4], T(~(T{1} << (mine % 31))));
    gpu::store(taken, atomicExch(on[5], mine));
    T before = 0;
    for (T seen = atomicCAS(on[6], T{0}, T{1}); seen != before; seen = atomicCAS(on[6], before, T(before + 1))) {
        before = seen;
    }
}

template <class T> __global__ void atomics_on_global(Results<T> *results, T *taken) {
    const auto mine = static_cast<T>(blockIdx.x * blockDim.x + threadIdx.x + 1);
    T *const on[] = {&results->sum,      &results->least,     &results->greatest, &results->bits,
                     &results->all_bits, &results->exchanged, &results->swapped};
    use_each_atomic(mine, on, taken + mine);
}

template <class T> __global__ void atomics_on_shared(Results<T> *results, T *taken) {
    GPU_SHARED(T[7], cells);
    if (threadIdx.x < 7) {
        cells[threadIdx.x] = threadIdx.x == 1 ? 1000 : threadIdx.x == 4 ? T(~T{0}) : T{0};
    }
    __syncthreads();
    const auto mine = static_cast<T>(threadIdx.x + 1);
    decltype(&cells[0]) on[] = {&cells[0], &cells[1], &cells[2], &cells[3], &cells[4], &cells[5], &cells[6]};
    use_each_atomic(mine, on, taken + mine);
    __syncthreads();
    if (threadIdx.x == 0) {
        *results = {cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]};
    }
}

template <class T> static void check_results(const Results<T> &results, std::vector<T> taken, T n) {
    const T low_bits = T((1U << 31) - 1);
    require(results.sum == n * (n + 1) / 2, "atomicAdd");
    require(results.least == 1, "atomicMin");
    require(results.greatest == n, "atomicMax");
    require(results.bits == low_bits, "atomicOr");
    require(results.all_bits == T(~low_bits), "atomicAnd");
    require(results.swapped == n, "atomicCAS");
    // Each value put in was taken out once, except the last one and the initial zero.
    taken[0] = results.exchanged;
    std::sort(taken.begin(), taken.end());
    for (T i = 0; i <= n; ++i) {
        require(taken[static_cast<std::size_t>(i)] == i, "atomicExch");
    }
}

template <class T> static void check_atomics_of() {
    constexpr T n = 100;
    for_each_seed([&] {
        std::vector<T> taken(n + 1);
        Results<T> results{0, 1000, 0, 0, T(~T{0}), 0, 0};
        launch(atomics_on_global<T>, 4, 25, &results, taken.data());
        check_results(results, taken, n);
        launch(atomics_on_shared<T>, 1, 100, &results, taken.data());
        check_results(results, taken, n);
    });
}

static void check_atomics() {
    check_atomics_of<int>();
    check_atomics_of<unsigned>();
    check_atomics_of<unsigned long long>();
}

template <class T> __global__ void shuffle_all_ways(int width, T *out) {
    const auto lane = static_cast<int>(threadIdx.x);
    const T mine = static_cast<T>(lane) + T{1} / T{4};
    T *const to = out + 8 * lane;
    gpu::store(to, __shfl_sync(full, mine, 3, width));
    gpu::store(to + 1, __shfl_sync(full, mine, lane * 5 + 1, width));
    gpu::store(to + 2, __shfl_up_sync(full, mine, 3, width));
    gpu::store(to + 3, __shfl_down_sync(full, mine, 3, width));
    gpu::store(to + 4, __shfl_xor_sync(full, mine, 5, width));
    gpu::store(to + 5, __shfl_up_sync(full, mine, 0));
    gpu::store(to + 6, __shfl_down_sync(full, mine, 31));
    gpu::store(to + 7, __shfl_xor_sync(full, mine, 31));
}

template <class T> static void check_shuffles_of(int width) {
    std::vector<T> out(8 * 32);
    launch(shuffle_all_ways<T>, 1, 32, width, out.data());
    for (int lane = 0; lane < 32; ++lane) {
        const int first = lane / width * width, end = first + width;
        const int sources[] = {first + 3 % width,
                               first + (lane * 5 + 1) % width,
                               lane - 3 >= first ? lane - 3 : lane,
                               lane + 3 < end ? lane + 3 : lane,
                               (lane ^ 5) < end ? lane ^ 5 : lane,
                               lane,
                               lane == 0 ? 31 : lane,
                               lane ^ 31};
        for (int i = 0; i < 8; ++i) {
            const T expected = static_cast<T>(sources[i]) + T{1} / T{4};
            require(out[static_cast<std::size_t>(8 * lane + i)] == expected, "a shuffle reads from the right lane");
        }
    }
}

static void check_shuffles() {
    for_each_seed([] {
        for (const int width : {32, 16, 4, 1}) {
            check_shuffles_of<unsigned>(width);
            check_shuffles_of<float>(width);
            check_shuffles_of<double>(width);
            check_shuffles_of<unsigned long long>(width);
        }
    });
}

__global__ void vote(unsigned *out) {
    const unsigned lane = threadIdx.x % 32, odd = 0xaaaaaaaa;
    unsigned bad = 0;
    bad |= __ballot_sync(full, lane % 2) != odd;
    bad |= __any_sync(full, lane == 7) != 1 || __any_sync(full, 0) != 0;
    bad |= __all_sync(full, lane < 32) != 1 || __all_sync(full, lane != 7) != 0;
    if (lane % 2 == 1) { // both halves at the same time
        bad |= __ballot_sync(odd, lane < 16) != (odd & 0xffff) || __all_sync(odd, 1) != 1;
        bad |= __shfl_sync(odd, lane, 31) != 31;
    } else {
        bad |= __ballot_sync(~odd, lane < 16) != (~odd & 0xffff);
    }
    if (lane != 0) { // while lane 0 waits for them
        __syncwarp(full - 1);
    }
    __syncwarp();
    gpu::store(out + blockIdx.x * blockDim.x + threadIdx.x, bad);
}

static void check_votes() {
    for_each_seed([] {
        std::vector<unsigned> out(3 * 96);
        launch(vote, 3, 96, out.data());
        require(std::count(out.begin(), out.end(), 0U) == 3 * 96, "votes are counted right");
    });
}

struct Pair {
    unsigned value, place;
};

__global__ void keep_structs(const uint4 *from, uint4 *to, Pair *greatest) {
    GPU_SHARED(Pair[64], pairs);
    GPU_SHARED(unsigned[2][3], table);
    GPU_SHARED(unsigned, scalar);
    const unsigned t = threadIdx.x;
    uint4 four = gpu::load(from + t);
    four.x += 1;
    gpu::store(to + t, four);
    pairs[t] = {four.x, t};
    if (t == 0) {
        scalar = 5;
        scalar += 3;
        ++scalar;
        scalar -= 2;
        table[1][2] = scalar;
        table[0][0] = table[1][2];
    }
    __syncthreads();
    if (t == 0) {
        for (unsigned i = 1; i < 64; ++i) {
            const Pair best = pairs[0], other = pairs[i];
            if (other.value > best.value) {
                pairs[0] = pairs[i];
            }
        }
        gpu::store(greatest, pairs[0]);
    }
    gpu::store(&to[t].w, table[0][0] + scalar);
}

static void check_structs() {
    for_each_seed([] {
        std::vector<uint4> from(64), to(64);
        for (unsigned i = 0; i < 64; ++i) {
            from[i] = make_uint4(i * 37 % 64, 0, 0, 0);
        }
        Pair greatest{};
        launch(keep_structs, 1, 64, from.data(), to.data(), &greatest);
        require(greatest.value == 64 && from[greatest.place].x == 63, "structs keep their members");
        require(to[0].x == 1 && to[5].w == 14, "vectors and scalars too");
    });
}

static model::Cost cost_of(const char *part_of_name) {
    model::Cost costs[2];
    const std::size_t n = model::costs(costs, 2);
    for (std::size_t i = 0; i < n; ++i) {
        if (std::strstr(costs[i].kernel, part_of_name) != nullptr) {
            return costs[i];
        }
    }
    return {};
}

static void check_counts() {
    std::vector<uint4> from(64), to(64);
    Pair greatest{};
    unsigned total = 0;
    launch(add_up, 2, 32, &from.front().x, 256U, &total);
    const model::Cost once = cost_of("add_up");
    require(once.launches == 1 && once.bytes_read == 4 * (256 + 2) && once.bytes_written == 4 * 2, "bytes are counted");
    launch(add_up, 2, 32, &from.front().x, 256U, &total);
    launch(keep_structs, 1, 64, from.data(), to.data(), &greatest);
    const model::Cost twice = cost_of("add_up"), other = cost_of("keep_structs");
    require(twice.launches == 2 && twice.bytes_read == 2 * once.bytes_read, "they add up");
    require(other.bytes_read == 16 * 64 && other.bytes_written == 16 * 64 + 8 + 4 * 64, "by kernel");
    require(model::costs(nullptr, 0) == 2, "two have run");
    model::reset_costs();
    require(model::costs(nullptr, 0) == 0, "and are forgotten");
}

__global__ void take_tickets(unsigned *next, unsigned *tickets) {
    __syncwarp();
    gpu::store(tickets + blockIdx.x * blockDim.x + threadIdx.x, atomicAdd(next, 1));
}

static std::vector<unsigned> order_under(std::uint64_t seed) {
    std::vector<unsigned> tickets(6 * 32);
    unsigned next = 0;
    model::configure({seed, 3, 8});
    launch(take_tickets, 6, 32, &next, tickets.data());
    return tickets;
}

static void check_order() {
    bool first_block_first = true, last_block_first = false;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const std::vector<unsigned> order = order_under(seed);
        require(order == order_under(seed), "a seed says all about the order");
        require(order != order_under(seed + 100), "another one gives another");
        const unsigned latest_of_first = *std::max_element(order.begin(), order.begin() + 32);
        const unsigned earliest_of_last = *std::min_element(order.end() - 32, order.end());
        first_block_first = first_block_first && latest_of_first < earliest_of_last;
        last_block_first = last_block_first || earliest_of_last == 0;
    }
    require(!first_block_first && last_block_first, "blocks start in any order");
}

__global__ void never_runs() {
    model::fail("it runs");
}

static void check_configurations() {
    const dim3 bad[][2] = {{0, 32}, {1, 0}, {1, 1025}, {{1, 0}, 32}, {{1, 70000}, 32}, {1, {1, 1, 65}}, {1, {64, 32}}};
    for (const auto &[grid, block] : bad) {
        const cudaError_t error = gpu::launch(never_runs, grid, block, nullptr);
        require(error == cudaErrorInvalidConfiguration && error == 9, "CUDA refuses these sizes");
        require(std::string_view(cudaGetErrorName(error)) == "cudaErrorInvalidConfiguration", "by name");
    }
}

__global__ void write_down_places(unsigned *out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned size = blockDim.x * blockDim.y * blockDim.z;
    gpu::store(out + block * size + thread, model::lane() == thread % 32 ? 1 : 2);
}

static void check_dimensions() {
    std::vector<unsigned> out(2 * 3 * 4 * 5 * 6 * 2);
    require(gpu::launch(write_down_places, {2, 3, 4}, {5, 6, 2}, nullptr, out.data()) == cudaSuccess, "it is launched");
    require(std::count(out.begin(), out.end(), 1U) == static_cast<std::ptrdiff_t>(out.size()), "each has run once");
}

__global__ void add_to(unsigned *to, unsigned x) {
    gpu::store(to, gpu::load(to) + x);
}
extern "C" void ptx__Z6add_toPjj(void **parameters) {
    **static_cast<unsigned **>(parameters[0]) += 1000 * *static_cast<unsigned *>(parameters[1]);
}

static void check_translation() {
    unsigned x = 1;
    launch(add_to, 1, 1, &x, 2LL);
    require(x == 3, "the source runs");
    model::use_ptx(true);
    launch(add_to, 1, 1, &x, 2LL);
    require(x == 2003, "the translation runs");
}
static void check_missing_translation() {
    unsigned x = 1, total = 0;
    model::use_ptx(true);
    launch(add_up, 1, 32, &x, 1U, &total);
}

// Each launch sees the writes of the previous one, of all its threads.
__global__ void write_numbers(unsigned *to) {
    gpu::store(to + threadIdx.x, threadIdx.x);
}
__global__ void turn_around(const unsigned *from, unsigned *to) {
    gpu::store(to + threadIdx.x, gpu::load(from + blockDim.x - 1 - threadIdx.x));
}

static void check_launches() {
    for_each_seed([] {
        unsigned first[64] = {}, second[64] = {};
        cudaMemsetAsync(first, 0xff, sizeof first);
        launch(write_numbers, 1, 64, first);
        launch(turn_around, 1, 64, first, second);
        launch(turn_around, 1, 64, second, first);
        cudaMemcpyAsync(second, first, sizeof first, cudaMemcpyDeviceToHost);
        require(second[63] == 63, "in order");
    });
}

// ---- Incorrect kernels. Some take arguments that hide the error from the compiler.

__global__ void mask_without_caller() {
    __ballot_sync(threadIdx.x == 5 ? full & ~(1U << 5) : full, 1);
}
__global__ void exited_lane_in_mask() {
    if (threadIdx.x != 9) {
        __syncwarp();
    }
}
__global__ void absent_lane_in_mask() {
    __syncwarp();
}
__global__ void lanes_disagree_on_operation() {
    if (threadIdx.x == 0) {
        __ballot_sync(full, 1);
    } else {
        __syncwarp();
    }
}
__global__ void lanes_disagree_on_mask() {
    __syncwarp(threadIdx.x < 16 ? full : threadIdx.x < 31 ? full - 1 : full);
}
__global__ void shuffle_from_outside_mask() {
    if (threadIdx.x < 8) {
        __shfl_down_sync(0xff, threadIdx.x, 4);
    }
}
__global__ void shuffle_of_odd_width(int width) {
    __shfl_sync(full, threadIdx.x, 0, width);
}
__global__ void divergent_barrier() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}
__global__ void exit_before_barrier() {
    if (threadIdx.x != 40) {
        __syncthreads();
    }
}
__global__ void warp_against_barrier() {
    if (threadIdx.x == 3) {
        __syncwarp();
    } else {
        __syncthreads();
    }
}
__global__ void lanes_in_a_circle() {
    const unsigned masks[] = {3, 6, 5};
    if (threadIdx.x < 3) {
        __syncwarp(masks[threadIdx.x]);
    } else {
        __syncthreads();
    }
}
__global__ void index_out_of_bounds(unsigned index) {
    GPU_SHARED(unsigned[32], bins);
    bins[index + threadIdx.x] = 0;
}
__global__ void negative_index(int index) {
    GPU_SHARED(unsigned[32], bins);
    bins[index] = 0;
}
__global__ void read_before_written(unsigned *out) {
    GPU_SHARED(unsigned[32], bins);
    if (threadIdx.x != 7) {
        bins[threadIdx.x] = 0;
    }
    __syncthreads();
    gpu::store(out + threadIdx.x, bins[threadIdx.x]);
}
__global__ void scalar_read_before_written(unsigned *out) {
    GPU_SHARED(unsigned, number);
    gpu::store(out, number);
}
__global__ void atomic_before_written() {
    GPU_SHARED(unsigned, number);
    atomicAdd(&number, 1);
}
__global__ void written_by_another_block(unsigned *out) {
    GPU_SHARED(unsigned, number);
    if (blockIdx.x == 0) {
        number = 1;
    }
    gpu::store(out + blockIdx.x, number);
}
__global__ void too_much_shared() {
    GPU_SHARED(unsigned[8192], first);
    GPU_SHARED(unsigned[8192], second);
    first[0] = 1;
    second[0] = 2;
}
__global__ void load_one(const unsigned *from, unsigned *to) {
    gpu::store(to, gpu::load(from));
}
__global__ void load_four(const uint4 *from, uint4 *to) {
    gpu::store(to, gpu::load(from));
}
__global__ void add_one(unsigned *to) {
    atomicAdd(to, 1);
}
__global__ void overflow_shared(std::size_t offset) {
    static const char key = 0;
    model::shared(&key, 100).bytes[offset] = 1;
}

template <auto kernel, unsigned grid, unsigned block> static void launch_bare() {
    launch(kernel, grid, block);
}

static unsigned some[64], others[64];

static void register_some() {
    model::register_memory(some, sizeof some, true);
    model::register_memory(others, sizeof others, false);
}

// ---- Races.

template <bool right> __global__ void read_neighbour_in_block(unsigned *out) {
    GPU_SHARED(unsigned[64], cells);
    cells[threadIdx.x] = 0;
    __syncthreads();
    cells[threadIdx.x] = threadIdx.x;
    if (right) {
        __syncthreads();
    }
    gpu::store(out + threadIdx.x, cells[(threadIdx.x + 32) % 64]);
}

enum Between { nothing, warp_barrier, ballot, shuffle, fence };

template <Between between> __global__ void read_neighbour_in_warp(unsigned *out) {
    GPU_SHARED(unsigned[32], cells);
    cells[threadIdx.x] = 0;
    __syncwarp();
    cells[threadIdx.x] = threadIdx.x;
    if (between == warp_barrier) {
        __syncwarp();
    } else if (between == ballot) {
        __ballot_sync(full, 1);
    } else if (between == shuffle) {
        __shfl_sync(full, threadIdx.x, 0);
    } else if (between == fence) {
        __threadfence();
    }
    gpu::store(out + threadIdx.x, cells[31 - threadIdx.x]);
}

// The halves of a warp synchronise separately, at the same time.
__global__ void read_from_other_half(unsigned *out) {
    GPU_SHARED(unsigned[32], cells);
    cells[threadIdx.x] = 0;
    __syncwarp();
    cells[threadIdx.x] = threadIdx.x;
    __syncwarp(threadIdx.x < 16 ? 0xffff : 0xffff0000);
    gpu::store(out + threadIdx.x, cells[31 - threadIdx.x]);
}

__global__ void increment_plainly(unsigned *count) {
    gpu::store(count, gpu::load(count) + 1);
}

// A barrier does not synchronise blocks.
__global__ void write_and_read_across_blocks(unsigned *out) {
    __syncthreads();
    if (threadIdx.x == 0) {
        gpu::store(out + blockIdx.x, 1);
    }
    __syncthreads();
    if (threadIdx.x == 1) {
        gpu::store(out + 2 + blockIdx.x, gpu::load(out + 1 - blockIdx.x));
    }
}

// A write after the fence is not released by the atomic operation.
__global__ void write_after_fence(unsigned *flag, unsigned *data) {
    if (blockIdx.x == 0) {
        __threadfence();
        gpu::store(data, 42);
        atomicExch(flag, 1);
    } else {
        while (gpu::load_fresh(flag) == 0) {
        }
        __threadfence();
        gpu::store(data + 1, gpu::load(data));
    }
}

static void check_write_after_fence() {
    model::configure({1, 2, 4});
    unsigned flag = 0, data[2] = {0, 0};
    launch(write_after_fence, 2, 1, &flag, data);
}

struct Check {
    const char *name, *outcome;
    void (*run)();
};

static const Check checks[] = {
    {"reduction", "exit 0", check_reduction},
    {"last_block_done", "exit 0", check_last_block_done<true, true>},
    {"hand_over", "exit 0", check_hand_over<true, true>},
    {"histogram", "exit 0", check_histogram},
    {"atomics", "exit 0", check_atomics},
    {"shuffles", "exit 0", check_shuffles},
    {"votes", "exit 0", check_votes},
    {"structs", "exit 0", check_structs},
    {"counts", "exit 0", check_counts},
    {"order", "exit 0", check_order},
    {"configurations", "exit 0", check_configurations},
    {"dimensions", "exit 0", check_dimensions},
    {"translation", "exit 0", check_translation},
    {"missing_translation", "exit 86: there is no translation", check_missing_translation},
    {"launches", "exit 0", check_launches},
    {"registered", "exit 0",
     [] {
         register_some();
         launch(load_one, 1, 1, others, some);
         launch(add_one, 1, 1, some + 63);
         cudaMemsetAsync(some, 0, sizeof some);
         model::unregister_memory();
         unsigned other = 0;
         launch(load_one, 1, 1, some, &other);
     }},
    {"block_barrier", "exit 0", [] { launch(read_neighbour_in_block<true>, 1, 64, some); }},
    {"warp_barrier", "exit 0", [] { launch(read_neighbour_in_warp<warp_barrier>, 1, 32, some); }},

    {"mask_without_caller", "exit 86: lacks the caller, lane 5", launch_bare<mask_without_caller, 1, 32>},
    {"exited_lane_in_mask", "exit 86: names lane 9, which has exited", launch_bare<exited_lane_in_mask, 2, 32>},
    {"absent_lane_in_mask", "exit 86: names lane 8, which doesn't exist", launch_bare<absent_lane_in_mask, 1, 40>},
    {"operations", "exit 86: lanes disagree: ", launch_bare<lanes_disagree_on_operation, 1, 32>},
    {"masks", "exit 86: lanes disagree: ", launch_bare<lanes_disagree_on_mask, 1, 32>},
    {"shuffle_source", "exit 86: which the mask 000000ff lacks", launch_bare<shuffle_from_outside_mask, 1, 32>},
    {"shuffle_width", "exit 86: a shuffle of width 12", [] { launch(shuffle_of_odd_width, 1, 32, 12); }},
    {"divergent_barrier", "exit 86: at another __syncthreads", launch_bare<divergent_barrier, 2, 64>},
    {"exit_before_barrier", "exit 86: exit", launch_bare<exit_before_barrier, 2, 64>},
    {"warp_against_barrier", "exit 86: deadlock: waits ", launch_bare<warp_against_barrier, 2, 32>},
    {"lanes_in_a_circle", "exit 86: deadlock: waits ", launch_bare<lanes_in_a_circle, 1, 32>},
    {"index_out_of_bounds", "exit 86: shared bins[32] is out of bounds: it has 32 elements",
     [] { launch(index_out_of_bounds, 1, 32, 1); }},
    {"negative_index", "exit 86: shared bins[-1] is out of bounds", [] { launch(negative_index, 1, 1, -1); }},
    {"read_before_written", "exit 86: thread (7, 0, 0): shared bins, or an element of it, is read before",
     [] { launch(read_before_written, 1, 32, some); }},
    {"scalar_read_before_written", "exit 86: shared number", [] { launch(scalar_read_before_written, 1, 1, some); }},
    {"atomic_before_written", "exit 86: shared number", launch_bare<atomic_before_written, 1, 1>},
    {"written_by_another_block", "exit 86: block (1, 0, 0)", [] { launch(written_by_another_block, 2, 1, some); }},
    {"too_much_shared", "exit 86: more than there is", launch_bare<too_much_shared, 1, 1>},
    {"unregistered_read",
     "exit 86: load_one(unsigned int const*, unsigned int*): block (0, 0, 0), thread (0, 0, 0): reads 4",
     [] {
         register_some();
         const unsigned elsewhere = 0;
         launch(load_one, 1, 1, &elsewhere, some);
     }},
    {"unregistered_write", "exit 86: isn't in registered writable memory",
     [] {
         register_some();
         launch(load_one, 1, 1, some, others);
     }},
    {"unregistered_atomic", "exit 86: isn't in registered writable memory",
     [] {
         register_some();
         launch(add_one, 1, 1, others);
     }},
    {"unregistered_memset", "exit 86: isn't in registered writable memory",
     [] {
         register_some();
         cudaMemsetAsync(others, 0, sizeof others);
     }},
    {"misaligned", "exit 86: misaligned",
     [] { launch(load_four, 1, 1, reinterpret_cast<uint4 *>(some + 1), reinterpret_cast<uint4 *>(others)); }},
    {"bad_configuration", "exit 1: invalid configuration argument", [] { launch(never_runs, 1, 2000); }},
    {"overflow_shared", "overflow", [] { launch(overflow_shared, 1, 1, 100U); }},

    {"no_barrier", "race", [] { launch(read_neighbour_in_block<false>, 1, 64, some); }},
    {"no_warp_barrier", "race", [] { launch(read_neighbour_in_warp<nothing>, 1, 32, some); }},
    {"ballot_as_barrier", "race", [] { launch(read_neighbour_in_warp<ballot>, 1, 32, some); }},
    {"shuffle_as_barrier", "race", [] { launch(read_neighbour_in_warp<shuffle>, 1, 32, some); }},
    {"fence_as_barrier", "race", [] { launch(read_neighbour_in_warp<fence>, 1, 32, some); }},
    {"barrier_of_half_a_warp", "race", [] { launch(read_from_other_half, 1, 32, some); }},
    {"no_first_fence", "race", check_last_block_done<false, true>},
    {"no_second_fence", "race", check_last_block_done<true, false>},
    {"hand_over_without_first_fence", "race", check_hand_over<false, true>},
    {"hand_over_without_second_fence", "race", check_hand_over<true, false>},
    {"write_after_fence", "race", check_write_after_fence},
    {"plain_increments_in_block", "race", [] { launch(increment_plainly, 1, 2, some); }},
    {"plain_increments_across_blocks", "race", [] { launch(increment_plainly, 8, 1, some); }},
    {"across_blocks", "race", [] { launch(write_and_read_across_blocks, 2, 32, some); }},
};

// ---- Speed.

__global__ void shuffle_only(unsigned times, unsigned *out) {
    unsigned x = threadIdx.x;
    for (unsigned i = 0; i < times; ++i) {
        x = __shfl_xor_sync(full, x, 1) + i;
    }
    gpu::store(out + blockIdx.x * blockDim.x + threadIdx.x, x);
}

__global__ void load_only(const unsigned *from, unsigned n, unsigned *out) {
    unsigned bits = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
        bits ^= gpu::load(from + i);
    }
    gpu::store(out + threadIdx.x, bits);
}

__global__ void start_only() {}

template <class Work> static double nanoseconds(Work work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

static void measure() {
    std::vector<unsigned> out(4096), from(1U << 16);
    for (const unsigned block : {32U, 256U, 1024U}) {
        const double time = nanoseconds([&] { launch(shuffle_only, 4, block, 1000U, out.data()); });
        std::printf("shuffle, 4 blocks of %4u: %6.1f ns per lane\n", block, time / (4000.0 * block));
    }
    const auto n = static_cast<unsigned>(from.size());
    for (const bool registered : {false, true}) {
        if (registered) {
            model::register_memory(from.data(), sizeof(unsigned) * n, false);
            model::register_memory(out.data(), sizeof(unsigned) * out.size(), true);
        }
        const double time = nanoseconds([&] {
            for (int i = 0; i < 100; ++i) {
                launch(load_only, 1, 32, from.data(), n, out.data());
            }
        });
        std::printf("load%s: %.2f ns\n", registered ? ", memory registered" : "", time / (100.0 * n));
    }
    const double time = nanoseconds([] { launch(start_only, 1000, 256); });
    std::printf("thread from start to end: %.1f ns\n", time / 256e3);
}

int main(int count, char **arguments) {
    const std::string_view wanted = count == 2 ? arguments[1] : "";
    if (wanted == "speed") {
        measure();
        return 0;
    }
    bool found = false;
    for (const Check &check : checks) {
        if (wanted == "list") {
            std::printf("%s\t%s\n", check.name, check.outcome);
        } else if (wanted == check.name) {
            check.run();
        }
        found = found || wanted == "list" || wanted == check.name;
    }
    return found ? 0 : 2;
}

// One thread of the CPU, a stack for each CUDA thread that has begun. Programs need -rdynamic, for kernels to have
// names.
//
// With AddressSanitizer this file is compiled like any other. With ThreadSanitizer, the kernels are compiled with
// -fsanitize=thread, but this file without and with -DRRM_MODEL_TSAN: it tells what CUDA orders, and its own memory is
// no business of a race checker. -DRRM_MODEL_UCONTEXT switches stacks with the C library, as on other processors.
#include "machine.h"

#include "races.h"
#include "scheduler.h"
#include "stacks.h"
#include "threads.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#ifdef __SANITIZE_THREAD__
#error "ThreadSanitizer must not watch the model itself: compile this file with -DRRM_MODEL_TSAN instead"
#endif

namespace model {

Place here;
Counts counted;
bool memory_registered = false;

namespace {

constexpr std::size_t static_shared_limit = 48 << 10, shared_limit = 227 << 10;

struct Launch {
    const char *name;
    std::size_t dynamic_shared;
    const std::function<void()> *kernel;
    Scheduler scheduler;
};

Schedule schedule;
Random random_source(Schedule().seed);
Races races;
Stacks stacks;
Launch *launch = nullptr;  // the one that runs
Thread *current = nullptr; // null: the host
Thread *just_exited = nullptr;
Context host;

void resume(Thread *next);

[[noreturn]] void run_thread() {
#ifdef __SANITIZE_ADDRESS__
    // The first thread of all comes from the host, whose stack is known from here on.
    const void *bottom = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (host.bottom == nullptr) {
        host.bottom = bottom;
        host.size = size;
    }
#endif
    (*launch->kernel)();
    Thread &self = *current;
    self.state = State::exited;
    just_exited = &self;
    races.leave(self.races);
    resume(nullptr);
    std::abort(); // nobody resumes it
}

void begin(Thread &thread) {
    thread.stack = stacks.take();
#ifdef __SANITIZE_ADDRESS__
    thread.context.bottom = thread.stack;
    thread.context.size = Stacks::size;
#endif
    prepare(thread.context, thread.stack, thread.flat, run_thread);
}

// Goes on with `next`, or with the host if null. Returns once the caller is to go on.
void resume(Thread *next) {
    Thread *const self = current;
    if (self == next) {
        return;
    }
    if (next == nullptr) {
        races.enter_host();
    } else {
        if (next->stack == nullptr) {
            begin(*next);
        }
        here.thread = next->index;
        here.block = next->block->index;
        races.enter(next->races);
    }
    Context &from = self == nullptr ? host : self->context;
    Context &to = next == nullptr ? host : next->context;
    current = next;
#ifdef __SANITIZE_ADDRESS__
    const bool for_good = self != nullptr && self->state == State::exited;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack, to.bottom, to.size);
    switch_stacks(from, to);
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#else
    switch_stacks(from, to);
#endif
}

// Lets others run until the current thread's turn comes again.
void let_others_run() {
    resume(launch->scheduler.take());
}
void make_ready(Thread &thread) {
    thread.state = State::ready;
    launch->scheduler.add(thread);
}

Thread &running(const char *what) {
    if (current == nullptr) {
        fail("%s outside of a kernel", what);
    }
    return *current;
}
[[noreturn]] void fail_in(Thread &thread, const char *what) {
    current = &thread;
    fail("%s", what);
}

// ---- Warp operations.

unsigned first_lane(unsigned mask) {
    return static_cast<unsigned>(__builtin_ctz(mask));
}
template <class Work> void for_each_lane(unsigned mask, Work work) {
    for (; mask != 0; mask &= mask - 1) {
        work(first_lane(mask));
    }
}

void check_mask(const Thread &self, unsigned mask, Operation operation) {
    if ((mask >> self.lane & 1) == 0) {
        fail("%s: the mask %08x lacks the caller, lane %u", spelling(operation), mask, self.lane);
    }
    const unsigned absent = mask & ~self.warp->present;
    if (absent != 0) {
        const unsigned lane = first_lane(absent);
        const bool existed = self.flat - self.lane + lane < self.block->threads.size();
        fail("%s: the mask %08x names lane %u, which %s", spelling(operation), mask, lane,
             existed ? "has exited" : "doesn't exist");
    }
}

// Two lanes that wait for each other in different operations will never meet.
void check_agreement(const Thread &self, const Gathering &other) {
    const unsigned awaited = other.arrived & self.mask;
    if (awaited != 0 && (other.mask >> self.lane & 1) != 0) {
        fail("lanes disagree: %s with mask %08x, but lane %u waits in %s with mask %08x", spelling(self.operation),
             self.mask, first_lane(awaited), spelling(other.operation), other.mask);
    }
}

Gathering &join(const Thread &self) {
    Warp &warp = *self.warp;
    Gathering *joined = nullptr;
    for (unsigned i = 0; i < warp.n_gatherings; ++i) {
        Gathering &gathering = warp.gatherings[i];
        if (gathering.operation == self.operation && gathering.mask == self.mask) {
            joined = &gathering;
        } else {
            check_agreement(self, gathering);
        }
    }
    if (joined == nullptr) {
        joined = &warp.gatherings[warp.n_gatherings++];
        *joined = {self.operation, self.mask, 0};
    }
    joined->arrived |= 1U << self.lane;
    return *joined;
}

void carry_out(Warp &warp, Operation operation, unsigned mask) {
    Thread *const threads = warp.threads;
    if (operation == Operation::ballot) {
        std::uint64_t votes = 0;
        for_each_lane(mask, [&](unsigned lane) { votes |= threads[lane].value << lane; });
        for_each_lane(mask, [&](unsigned lane) { threads[lane].value = votes; });
    } else if (operation == Operation::shuffle) {
        std::uint64_t given[warp_size];
        for_each_lane(mask, [&](unsigned lane) { given[lane] = threads[lane].value; });
        for_each_lane(mask, [&](unsigned lane) {
            const unsigned source = threads[lane].source;
            if (source >= warp_size || (mask >> source & 1) == 0) {
                current = &threads[lane];
                fail("__shfl_sync: reads from lane %u, which the mask %08x lacks", source, mask);
            }
            threads[lane].value = given[source];
        });
    } else {
        unsigned lanes[warp_size] = {}, count = 0;
        for_each_lane(mask, [&](unsigned lane) { lanes[count++] = lane; });
        races.meet(count, [&](unsigned i) -> Races::Thread & { return threads[lanes[i]].races; }, current->races);
    }
}

std::uint64_t meet_lanes(Operation operation, unsigned mask, std::uint64_t value, unsigned source) {
    Thread &self = running(spelling(operation));
    check_mask(self, mask, operation);
    self.operation = operation;
    self.mask = mask;
    self.value = value;
    self.source = source;
    Gathering &gathering = join(self);
    if (gathering.arrived != mask) {
        self.state = State::at_warp_operation;
        let_others_run();
        return self.value;
    }
    Warp &warp = *self.warp;
    gathering = warp.gatherings[--warp.n_gatherings];
    carry_out(warp, operation, mask);
    const bool go_on = random_source.one_in(2);
    for_each_lane(go_on ? mask & ~(1U << self.lane) : mask, [&](unsigned lane) { make_ready(warp.threads[lane]); });
    if (!go_on) {
        let_others_run();
    }
    return self.value;
}

// ---- Starting and ending blocks.

Index place(std::uint64_t flat, Index size) {
    return {static_cast<unsigned>(flat % size.x), static_cast<unsigned>(flat / size.x % size.y),
            static_cast<unsigned>(flat / size.x / size.y)};
}

std::unique_ptr<Block> make_block(std::uint64_t number) {
    const unsigned count = here.block_size.x * here.block_size.y * here.block_size.z;
    auto block = std::make_unique<Block>();
    block->index = place(number, here.grid_size);
    block->n_present = count;
    block->threads = std::vector<Thread>(count);
    block->warps = std::vector<Warp>((count + warp_size - 1) / warp_size);
    for (unsigned flat = 0; flat < count; ++flat) {
        Thread &thread = block->threads[flat];
        thread.block = block.get();
        thread.warp = &block->warps[flat / warp_size];
        thread.flat = flat;
        thread.lane = flat % warp_size;
        thread.index = place(flat, here.block_size);
        thread.warp->present |= 1U << thread.lane;
        if (thread.lane == 0) {
            thread.warp->threads = &thread;
        }
        races.create(thread.races);
    }
    return block;
}

void retire(std::unique_ptr<Block> block) {
    for (Thread &thread : block->threads) {
        races.retire(thread.races);
    }
    races.as_janitor([&] {
        for (const SharedPart &part : block->shared) {
            std::free(part.bytes);
            std::free(part.written);
        }
    });
}

// The thread has exited. Nobody may count on it any more.
void take_leave(Thread &thread) {
    stacks.give_back(std::exchange(thread.stack, nullptr));
    Block &block = *thread.block;
    Warp &warp = *thread.warp;
    warp.present &= ~(1U << thread.lane);
    for (unsigned i = 0; i < warp.n_gatherings; ++i) {
        const Gathering &gathering = warp.gatherings[i];
        if ((gathering.mask >> thread.lane & 1) != 0) {
            current = &warp.threads[first_lane(gathering.arrived)];
            fail("%s: the mask %08x names lane %u, which has exited", spelling(gathering.operation), gathering.mask,
                 thread.lane);
        }
    }
    if (block.n_at_barrier != 0) {
        fail_in(thread, "exits while other threads of the block wait at a __syncthreads");
    }
    if (--block.n_present == 0) {
        retire(launch->scheduler.end(block));
    }
}

[[noreturn]] void fail_deadlocked() {
    Block &block = *launch->scheduler.blocks().front();
    Thread *thread = block.threads.data();
    while (thread->state == State::exited) {
        ++thread;
    }
    if (thread->state == State::at_barrier) {
        fail_in(*thread, "deadlock: waits at a __syncthreads for threads that don't come");
    }
    unsigned missing = thread->mask;
    for (unsigned i = 0; i < thread->warp->n_gatherings; ++i) {
        const Gathering &gathering = thread->warp->gatherings[i];
        if ((gathering.arrived >> thread->lane & 1) != 0) {
            missing &= ~gathering.arrived;
        }
    }
    const Thread &awaited = thread->warp->threads[first_lane(missing)];
    current = thread;
    fail("deadlock: waits in %s with mask %08x for lane %u, which waits %s %s", spelling(thread->operation),
         thread->mask, awaited.lane, awaited.state == State::at_barrier ? "at a" : "in",
         awaited.state == State::at_barrier ? "__syncthreads" : spelling(awaited.operation));
}

void run_blocks(std::uint64_t count) {
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; ++i) {
        order[i] = i;
    }
    Scheduler &scheduler = launch->scheduler;
    const std::size_t resident = schedule.resident == 0 ? 1 : schedule.resident;
    while (!order.empty() || !scheduler.blocks().empty()) {
        while (!order.empty() && scheduler.blocks().size() < resident) {
            std::swap(order[random_source.below(static_cast<unsigned>(order.size()))], order.back());
            scheduler.start(make_block(order.back()));
            order.pop_back();
        }
        just_exited = nullptr;
        resume(scheduler.take());
        if (just_exited == nullptr) { // only then nobody was left to run
            fail_deadlocked();
        }
        take_leave(*just_exited);
    }
}

// ---- Registered memory, and counts.

struct Range {
    std::uintptr_t begin, end;
    bool writable;
};
std::vector<Range> registered;
Range recent{}; // the one touched last

void find_range(std::uintptr_t begin, std::size_t size, bool write) {
    for (const Range &range : registered) {
        if (begin >= range.begin && begin + size <= range.end && (range.writable || !write)) {
            recent = range;
            return;
        }
    }
    fail("%s %zu bytes at %#zx, which isn't in registered%s memory", write ? "writes" : "reads", size,
         static_cast<std::size_t>(begin), write ? " writable" : "");
}

struct KernelCosts {
    std::uint64_t launches = 0, bytes_read = 0, bytes_written = 0;
};
std::map<std::string, KernelCosts> costs_of;

void add_costs(const std::string &kernel) {
    KernelCosts &so_far = costs_of[kernel];
    ++so_far.launches;
    so_far.bytes_read += counted.read;
    so_far.bytes_written += counted.written;
    counted = {};
}

bool ptx_wanted = false;

std::string readable(const char *name) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                                std::free);
    return demangled == nullptr ? name : demangled.get();
}

} // namespace

// ---- The interface.

void configure(const Schedule &wanted) {
    schedule = wanted;
    random_source = Random(wanted.seed);
}

bool launchable(Index grid, Index block) {
    const auto within = [](Index size, std::uint64_t x, std::uint64_t y, std::uint64_t z) {
        return size.x - 1 < x && size.y - 1 < y && size.z - 1 < z; // 0 wraps around
    };
    return within(grid, 0x7fffffff, 65535, 65535) && within(block, 1024, 1024, 64) &&
           std::uint64_t{block.x} * block.y * block.z <= 1024;
}

void run(const char *name, Index grid, Index block, std::size_t dynamic_shared, const std::function<void()> &kernel) {
    if (launch != nullptr) {
        fail("a kernel starts another");
    }
    Launch launched{name, dynamic_shared, &kernel, Scheduler(random_source)};
    launch = &launched;
    const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
    if (!launchable(grid, block) || count > 1U << 31 || dynamic_shared > shared_limit) {
        fail("launched with sizes that CUDA refuses");
    }
    here = {{}, {}, block, grid};
    counted = {};
    races.begin_launch();
    run_blocks(count);
    races.end_launch();
    launch = nullptr;
    add_costs(name);
}

Index thread_index() {
    running("thread_index");
    return here.thread;
}
Index block_index() {
    running("block_index");
    return here.block;
}
Index block_size() {
    running("block_size");
    return here.block_size;
}
Index grid_size() {
    running("grid_size");
    return here.grid_size;
}
unsigned lane() {
    return running("lane").lane;
}

unsigned ballot(unsigned mask, bool vote) {
    return static_cast<unsigned>(meet_lanes(Operation::ballot, mask, vote ? 1 : 0, 0));
}
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned lane) {
    return meet_lanes(Operation::shuffle, mask, value, lane);
}
void sync_warp(unsigned mask) {
    meet_lanes(Operation::sync, mask, 0, 0);
}

void sync_block(const void *site) {
    Thread &self = running("__syncthreads");
    Block &block = *self.block;
    const std::size_t count = block.threads.size();
    if (block.n_present != count) {
        fail("waits at a __syncthreads, but another thread of the block has exited");
    }
    if (block.n_at_barrier != 0 && block.site != site) {
        fail("waits at another __syncthreads than other threads of the block");
    }
    block.site = site;
    if (++block.n_at_barrier != count) {
        self.state = State::at_barrier;
        let_others_run();
        return;
    }
    block.n_at_barrier = 0;
    races.meet(block.n_present, [&](unsigned i) -> Races::Thread & { return block.threads[i].races; }, self.races);
    for (Thread &thread : block.threads) {
        make_ready(thread);
    }
    let_others_run();
}

void fence() {
    races.fence(running("__threadfence").races);
    give_way();
}

void give_way() {
    if (current != nullptr && schedule.preempt != 0 && random_source.one_in(schedule.preempt)) {
        make_ready(*current);
        let_others_run();
    }
}

void atomic_read(const void *address) {
    if (current != nullptr) {
        races.atomic_read(current->races, const_cast<void *>(address));
    }
}
void atomic_written(const void *address) {
    if (current != nullptr) {
        races.atomic_written(current->races, const_cast<void *>(address));
    }
}

Shared shared(const void *key, std::size_t size) {
    Thread &self = running("shared memory");
    Block &block = *self.block;
    std::size_t total = 0;
    for (const SharedPart &part : block.shared) {
        if (part.key == key) {
            races.see_made(&block.made);
            return {part.bytes, part.written};
        }
        total += part.size;
    }
    const bool dynamic = key == nullptr;
    if (size > (dynamic ? launch->dynamic_shared : static_shared_limit - total)) {
        fail("%zu bytes of %s shared memory are more than there is", size, dynamic ? "dynamic" : "static");
    }
    constexpr int poison = 0xa5;
    SharedPart part{key, size, nullptr, nullptr};
    races.as_host(
        [&] {
            // Of exactly this size, for AddressSanitizer to see what lies outside.
            part.bytes = static_cast<unsigned char *>(std::malloc(size));
            part.written = static_cast<unsigned char *>(std::calloc(size, 1));
            std::memset(part.bytes, poison, size);
            block.shared.push_back(part);
        },
        self.races, &block.made);
    races.see_made(&block.made);
    return {part.bytes, part.written};
}

void fail(const char *format, ...) {
    std::fflush(stdout);
    std::fputs("model of CUDA: ", stderr);
    if (launch != nullptr) {
        std::fprintf(stderr, "%s: ", readable(launch->name).c_str());
    }
    if (current != nullptr) {
        const Index block = current->block->index, thread = current->index;
        std::fprintf(stderr, "block (%u, %u, %u), thread (%u, %u, %u): ", block.x, block.y, block.z, thread.x, thread.y,
                     thread.z);
    }
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    std::_Exit(86);
}

void register_memory(const void *begin, std::size_t size, bool writable) {
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    registered.push_back({address, address + size, writable});
    memory_registered = true;
}
void forget_memory() {
    registered.clear();
    recent = {};
    memory_registered = false;
}
void check_range(const void *begin, std::size_t size, bool write) {
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    const bool known = address >= recent.begin && address + size <= recent.end && (recent.writable || !write);
    if (!known && memory_registered) {
        find_range(address, size, write);
    }
}
void check_memory(const void *address, std::size_t size, bool write) {
    if (memory_registered && reinterpret_cast<std::uintptr_t>(address) % size != 0) {
        fail("%s %zu bytes at %p, misaligned", write ? "writes" : "reads", size, address);
    }
    check_range(address, size, write);
}

void count_read(std::size_t bytes) {
    counted.read += bytes;
}
void count_written(std::size_t bytes) {
    counted.written += bytes;
}
std::size_t costs(Cost *into, std::size_t room) {
    for (const auto &[kernel, so_far] : costs_of) {
        if (room == 0) {
            break;
        }
        --room;
        *into++ = {kernel.c_str(), so_far.launches, so_far.bytes_read, so_far.bytes_written};
    }
    return costs_of.size();
}
void forget_costs() {
    costs_of.clear();
}

const char *kernel_name(const void *kernel) {
    Dl_info found;
    if (dladdr(kernel, &found) == 0 || found.dli_sname == nullptr || found.dli_saddr != kernel) {
        fail("a kernel has no name that dladdr finds: link with -rdynamic, and give it external linkage");
    }
    return found.dli_sname;
}

void use_ptx(bool wanted) {
    ptx_wanted = wanted;
}
Translated *translated(const void *kernel) {
    if (!ptx_wanted) {
        return nullptr;
    }
    const std::string symbol = std::string("ptx_") + kernel_name(kernel);
    void *const found = dlsym(RTLD_DEFAULT, symbol.c_str());
    if (found == nullptr) {
        fail("there is no translation %s", symbol.c_str());
    }
    return reinterpret_cast<Translated *>(found);
}

} // namespace model

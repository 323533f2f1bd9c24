// Launches, warp operations, barriers and shared memory of the model. Each started CUDA thread has a stack. Programs
// are linked with -rdynamic, so that kernels have names.
//
// AddressSanitizer instruments this file like the kernels. For ThreadSanitizer only the kernels are compiled with
// -fsanitize=thread; this file is compiled without it and with -DRRM_MODEL_TSAN, announces CUDA's synchronisation, and
// keeps its own memory accesses invisible. -DRRM_MODEL_UCONTEXT switches stacks through the C library, the default on
// processors other than x86-64.
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
#error "ThreadSanitizer must not instrument the model: compile this file with -DRRM_MODEL_TSAN instead"
#endif

namespace model {

Place here;
Traffic traffic;
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
Launch *launch = nullptr;  // the running launch
Thread *current = nullptr; // null: the host runs
Thread *exited_thread = nullptr;
Context host;

void switch_to(Thread *next);

[[noreturn]] void fiber_entry() {
#ifdef __SANITIZE_ADDRESS__
    // The first fiber is entered from the host: the place to learn the bounds of its stack.
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
    exited_thread = &self;
    races.thread_exited(self.races);
    switch_to(nullptr);
    std::abort(); // an exited thread is not resumed
}

void start_fiber(Thread &thread) {
    thread.stack = stacks.take();
#ifdef __SANITIZE_ADDRESS__
    thread.context.bottom = thread.stack;
    thread.context.size = Stacks::size;
#endif
    prepare(thread.context, thread.stack, thread.flat, fiber_entry);
}

// Switches to `next`, or to the host if null. Returns when the caller is resumed.
void switch_to(Thread *next) {
    Thread *const self = current;
    if (self == next) {
        return;
    }
    if (next == nullptr) {
        races.switch_to_host();
    } else {
        if (next->stack == nullptr) {
            start_fiber(*next);
        }
        here.thread = next->index;
        here.block = next->block->index;
        races.switch_to(next->races);
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

// Yields to the scheduler; returns when the current thread is scheduled again.
void yield_to_scheduler() {
    switch_to(launch->scheduler.next());
}
void make_ready(Thread &thread) {
    thread.state = State::ready;
    launch->scheduler.add(thread);
}

Thread &current_thread(const char *what) {
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

// Two lanes that wait for each other in different operations deadlock.
void check_agreement(const Thread &self, const PendingOperation &other) {
    const unsigned awaited = other.arrived & self.mask;
    if (awaited != 0 && (other.mask >> self.lane & 1) != 0) {
        fail("lanes disagree: %s with mask %08x, but lane %u waits in %s with mask %08x", spelling(self.operation),
             self.mask, first_lane(awaited), spelling(other.operation), other.mask);
    }
}

PendingOperation &join(const Thread &self) {
    Warp &warp = *self.warp;
    PendingOperation *joined = nullptr;
    for (unsigned i = 0; i < warp.n_pending; ++i) {
        PendingOperation &pending = warp.pending_operations[i];
        if (pending.operation == self.operation && pending.mask == self.mask) {
            joined = &pending;
        } else {
            check_agreement(self, pending);
        }
    }
    if (joined == nullptr) {
        joined = &warp.pending_operations[warp.n_pending++];
        *joined = {self.operation, self.mask, 0};
    }
    joined->arrived |= 1U << self.lane;
    return *joined;
}

void complete_operation(Warp &warp, Operation operation, unsigned mask) {
    Thread *const threads = warp.threads;
    if (operation == Operation::ballot) {
        std::uint64_t votes = 0;
        for_each_lane(mask, [&](unsigned lane) { votes |= threads[lane].value << lane; });
        for_each_lane(mask, [&](unsigned lane) { threads[lane].value = votes; });
    } else if (operation == Operation::shuffle) {
        std::uint64_t inputs[warp_size];
        for_each_lane(mask, [&](unsigned lane) { inputs[lane] = threads[lane].value; });
        for_each_lane(mask, [&](unsigned lane) {
            const unsigned source = threads[lane].source;
            if (source >= warp_size || (mask >> source & 1) == 0) {
                current = &threads[lane];
                fail("__shfl_sync: reads from lane %u, which the mask %08x lacks", source, mask);
            }
            threads[lane].value = inputs[source];
        });
    } else {
        unsigned lanes[warp_size] = {}, count = 0;
        for_each_lane(mask, [&](unsigned lane) { lanes[count++] = lane; });
        races.synchronize(
            count, [&](unsigned i) -> Races::Thread & { return threads[lanes[i]].races; }, current->races);
    }
}

std::uint64_t warp_operation(Operation operation, unsigned mask, std::uint64_t value, unsigned source) {
    Thread &self = current_thread(spelling(operation));
    check_mask(self, mask, operation);
    self.operation = operation;
    self.mask = mask;
    self.value = value;
    self.source = source;
    PendingOperation &pending = join(self);
    if (pending.arrived != mask) {
        self.state = State::at_warp_operation;
        yield_to_scheduler();
        return self.value;
    }
    Warp &warp = *self.warp;
    pending = warp.pending_operations[--warp.n_pending];
    complete_operation(warp, operation, mask);
    const bool continue_here = random_source.one_in(2);
    for_each_lane(continue_here ? mask & ~(1U << self.lane) : mask,
                  [&](unsigned lane) { make_ready(warp.threads[lane]); });
    if (!continue_here) {
        yield_to_scheduler();
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
    races.run_as_cleanup([&] {
        for (const SharedPart &part : block->shared) {
            std::free(part.bytes);
            std::free(part.written);
        }
    });
}

// Removes an exited thread; fails if other threads wait for it.
void remove_thread(Thread &thread) {
    stacks.give_back(std::exchange(thread.stack, nullptr));
    Block &block = *thread.block;
    Warp &warp = *thread.warp;
    warp.present &= ~(1U << thread.lane);
    for (unsigned i = 0; i < warp.n_pending; ++i) {
        const PendingOperation &pending = warp.pending_operations[i];
        if ((pending.mask >> thread.lane & 1) != 0) {
            current = &warp.threads[first_lane(pending.arrived)];
            fail("%s: the mask %08x names lane %u, which has exited", spelling(pending.operation), pending.mask,
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

[[noreturn]] void fail_deadlock() {
    Block &block = *launch->scheduler.blocks().front();
    Thread *thread = block.threads.data();
    while (thread->state == State::exited) {
        ++thread;
    }
    if (thread->state == State::at_barrier) {
        fail_in(*thread, "deadlock: waits at a __syncthreads for threads that don't come");
    }
    unsigned missing = thread->mask;
    for (unsigned i = 0; i < thread->warp->n_pending; ++i) {
        const PendingOperation &pending = thread->warp->pending_operations[i];
        if ((pending.arrived >> thread->lane & 1) != 0) {
            missing &= ~pending.arrived;
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
        exited_thread = nullptr;
        switch_to(scheduler.next());
        if (exited_thread == nullptr) { // no thread could run
            fail_deadlock();
        }
        remove_thread(*exited_thread);
    }
}

// ---- Registered memory and traffic counts.

struct Range {
    std::uintptr_t begin, end;
    bool writable;
};
std::vector<Range> registered;
Range last_range{}; // the range of the last access

void find_range(std::uintptr_t begin, std::size_t size, bool write) {
    for (const Range &range : registered) {
        if (begin >= range.begin && begin + size <= range.end && (range.writable || !write)) {
            last_range = range;
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
    KernelCosts &costs_of_kernel = costs_of[kernel];
    ++costs_of_kernel.launches;
    costs_of_kernel.bytes_read += traffic.read;
    costs_of_kernel.bytes_written += traffic.written;
    traffic = {};
}

bool ptx_enabled = false;

std::string readable(const char *name) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                                std::free);
    return demangled == nullptr ? name : demangled.get();
}

} // namespace

// ---- The interface.

void configure(const Schedule &new_schedule) {
    schedule = new_schedule;
    random_source = Random(new_schedule.seed);
}

bool is_valid_launch(Index grid, Index block) {
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
    if (!is_valid_launch(grid, block) || count > 1U << 31 || dynamic_shared > shared_limit) {
        fail("launched with sizes that CUDA refuses");
    }
    here = {{}, {}, block, grid};
    traffic = {};
    races.begin_launch();
    run_blocks(count);
    races.end_launch();
    launch = nullptr;
    add_costs(name);
}

Index thread_index() {
    current_thread("thread_index");
    return here.thread;
}
Index block_index() {
    current_thread("block_index");
    return here.block;
}
Index block_size() {
    current_thread("block_size");
    return here.block_size;
}
Index grid_size() {
    current_thread("grid_size");
    return here.grid_size;
}
unsigned lane() {
    return current_thread("lane").lane;
}

unsigned ballot(unsigned mask, bool vote) {
    return static_cast<unsigned>(warp_operation(Operation::ballot, mask, vote ? 1 : 0, 0));
}
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned lane) {
    return warp_operation(Operation::shuffle, mask, value, lane);
}
void sync_warp(unsigned mask) {
    warp_operation(Operation::sync, mask, 0, 0);
}

void sync_block(const void *site) {
    Thread &self = current_thread("__syncthreads");
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
        yield_to_scheduler();
        return;
    }
    block.n_at_barrier = 0;
    races.synchronize(
        block.n_present, [&](unsigned i) -> Races::Thread & { return block.threads[i].races; }, self.races);
    for (Thread &thread : block.threads) {
        make_ready(thread);
    }
    yield_to_scheduler();
}

void fence() {
    races.fence(current_thread("__threadfence").races);
    maybe_yield();
}

void maybe_yield() {
    if (current != nullptr && schedule.preempt != 0 && random_source.one_in(schedule.preempt)) {
        make_ready(*current);
        yield_to_scheduler();
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
    Thread &self = current_thread("shared memory");
    Block &block = *self.block;
    std::size_t total = 0;
    for (const SharedPart &part : block.shared) {
        if (part.key == key) {
            races.acquire_allocation(&block.allocation_clock);
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
    races.run_as_host(
        [&] {
            // A separate allocation of the exact size: AddressSanitizer detects accesses outside.
            part.bytes = static_cast<unsigned char *>(std::malloc(size));
            part.written = static_cast<unsigned char *>(std::calloc(size, 1));
            std::memset(part.bytes, poison, size);
            block.shared.push_back(part);
        },
        self.races, &block.allocation_clock);
    races.acquire_allocation(&block.allocation_clock);
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
void unregister_memory() {
    registered.clear();
    last_range = {};
    memory_registered = false;
}
void check_range(const void *begin, std::size_t size, bool write) {
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    const bool known =
        address >= last_range.begin && address + size <= last_range.end && (last_range.writable || !write);
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
    traffic.read += bytes;
}
void count_written(std::size_t bytes) {
    traffic.written += bytes;
}
std::size_t costs(Cost *into, std::size_t room) {
    for (const auto &[kernel, costs_of_kernel] : costs_of) {
        if (room == 0) {
            break;
        }
        --room;
        *into++ = {kernel.c_str(), costs_of_kernel.launches, costs_of_kernel.bytes_read, costs_of_kernel.bytes_written};
    }
    return costs_of.size();
}
void reset_costs() {
    costs_of.clear();
}

const char *kernel_name(const void *kernel) {
    Dl_info entry;
    if (dladdr(kernel, &entry) == 0 || entry.dli_sname == nullptr || entry.dli_saddr != kernel) {
        fail("dladdr finds no name for a kernel: link with -rdynamic, and give it external linkage");
    }
    return entry.dli_sname;
}

void use_ptx(bool enabled) {
    ptx_enabled = enabled;
}
Translated *translated(const void *kernel) {
    if (!ptx_enabled) {
        return nullptr;
    }
    const std::string symbol = std::string("ptx_") + kernel_name(kernel);
    void *const entry = dlsym(RTLD_DEFAULT, symbol.c_str());
    if (entry == nullptr) {
        fail("there is no translation %s", symbol.c_str());
    }
    return reinterpret_cast<Translated *>(entry);
}

} // namespace model
